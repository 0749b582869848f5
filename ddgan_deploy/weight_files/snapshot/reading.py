"""A file that is one plain pickle -> the inert contents that it holds."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickletools
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import short
from ddgan_deploy.weight_files.objects import Saved
from ddgan_deploy.weight_files.snapshot.allowance import Allowance
from ddgan_deploy.weight_files.snapshot.machine import Machine
from ddgan_deploy.weight_files.snapshot.makers import Objects
from ddgan_deploy.weight_files.snapshot.tensors import MAGIC

_PROTO = b"\x80"
_OF_TENSORFLOW = "dnnlib.tflib.network.Network"
_OPCODES_UP_TO_MAGIC = 3
"""The protocol's, a frame's from protocol 4 on, and the number."""


def is_plain_pickle(file: BinaryIO) -> bool:
    """Whether a file is a pickle of protocol 2 or later and not PyTorch's own; it is left at its start.

    PyTorch's older form is several pickles, the first of which is a number.
    """
    if file.read(1) != _PROTO:
        file.seek(0)
        return False
    begin = file.read(64)
    file.seek(0)
    with contextlib.suppress(Exception):  # what is cut off or damaged ends in an error of almost any type
        for opcode, argument, _ in itertools.islice(pickletools.genops(_PROTO + begin), _OPCODES_UP_TO_MAGIC):
            if opcode.name.startswith("LONG") and argument == MAGIC:
                return False
    return True


def read_snapshot(file: BinaryIO, path: Path) -> dict[str, Any]:
    """What a plain pickle holds; none of it is looked up, imported or called.

    Args:
        file: at its start.
        path: of it, for the error.

    Returns:
        By text keys, dicts (also for those of other classes), lists (also for sets), tuples, numbers, texts, bytes,
        NumPy's numbers and small arrays as Python's (a large one is an empty list), tensors as they lie in their
        storages, on the CPU, unchecked, and `Saved` and `Named` for all else. What is shared in the file is shared
        here; it may lie in itself.

    Raises:
        InputError: the file is damaged, names code that no snapshot has, or claims more than it has.
    """
    size = os.fstat(file.fileno()).st_size
    allowance = Allowance.of_file(size)
    try:
        with warnings.catch_warnings():
            # Of escapes in texts; no warning may add a second line to an error.
            warnings.simplefilter("ignore")
            content = Machine(file, size, Objects(allowance), allowance).run()
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    except MemoryError:
        raise InputError(f"{path} does not fit into memory: read it on a larger machine") from None
    except Exception:  # what makes no sense ends in an error of almost any type
        raise InputError(f"{path} is damaged or no snapshot: copy it again") from None
    if _is_of_tensorflow(content):
        raise InputError(
            f"{path} is a StyleGAN of TensorFlow: convert it by legacy.py of stylegan2-ada-pytorch, and give what that "
            "writes"
        )
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(
            f"{path} holds {_told(content)}, not a dict of what was trained: give a network-snapshot-<kimg>.pkl as the "
            "published training code writes it"
        )
    return content


def _told(content: object) -> str:
    if isinstance(content, Saved):
        return f"one object, of {short(content.kind)[1:-1]},"
    return "a dict whose keys are no texts" if isinstance(content, dict) else f"a {type(content).__name__}"


def _is_of_tensorflow(content: Any) -> bool:
    parts = content if isinstance(content, tuple) else (content,)
    return any(isinstance(part, Saved) and part.kind == _OF_TENSORFLOW for part in parts)
