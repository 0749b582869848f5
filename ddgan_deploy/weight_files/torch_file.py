"""PyTorch's own files, the archives of today and the older form -> what they hold. Nothing in them is executed."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import BinaryIO

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import short
from ddgan_deploy.weight_files.archive import is_archive, pickles_of_archive
from ddgan_deploy.weight_files.opcodes import Told, told
from ddgan_deploy.weight_files.stand_ins import UnreadError, safe_globals, without_boxes

_PICKLES_OF_THE_OLDER_FORM = 5
_GLOBAL = re.compile(r"\bGLOBAL (\S+)|``(\S+)`` must be imported")
_PROTOCOL = 2
"""Of pickle, the highest that PyTorch reads without running code."""


def read_torch_file(file: BinaryIO, path: Path) -> object:
    """What `torch.save` has put into a file: dicts, lists, numbers, texts, namespaces, and tensors in main memory.

    Args:
        file: at its start.
        path: of it, for the error.

    Raises:
        InputError: the file is damaged, of another format, or holds objects that only code could build.
    """
    import torch

    known = Told(frozenset(), 0)
    try:
        known = told(pickles_of_archive(file) if is_archive(file) else [file] * _PICKLES_OF_THE_OLDER_FORM)
        file.seek(0)
        with warnings.catch_warnings(), torch.serialization.safe_globals(safe_globals()):
            warnings.simplefilter("ignore")
            return without_boxes(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged file ends in an error of almost any type
        raise InputError(f"{path} {_reason(error, known)}") from None


def _reason(error: Exception, known: Told) -> str:
    if isinstance(error, InputError):
        return str(error)
    named = _GLOBAL.search(str(error))
    code = str(error) if isinstance(error, UnreadError) else named and (named[1] or named[2])
    if not code and known.protocol > _PROTOCOL:
        return f"has pickle protocol {known.protocol}: save it anew by torch.save(...) without pickle_protocol"
    if not code:
        forms = "netG_<epoch>.pth, content.pth or network-snapshot-<kimg>.pkl"
        return f"is damaged or not a PyTorch checkpoint: copy it again, or give a {forms}"
    name = short(code).strip("'")
    fix = "save the state dict alone (torch.save(netG.state_dict(), ...))"
    if "netG_dict" in known.texts:
        fix = (
            "where you trust it, save a copy that keeps netG_dict, optimizerG (which has the EMA weights) "
            "and, of vars(args), the numbers and texts"
        )
    return f"holds pickled code ({name}), which is never run: {fix}"
