"""A weight file -> the inert contents that it holds: PyTorch's files, plain pickles and safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import short
from ddgan_deploy.weight_files.archive import is_archive
from ddgan_deploy.weight_files.snapshot.reading import is_plain_pickle, read_snapshot
from ddgan_deploy.weight_files.torch_file import read_torch_file

if TYPE_CHECKING:
    import torch


def read(path: Path) -> dict[str, Any]:
    """What a file holds; nothing in it is executed.

    Returns:
        Dicts, lists, numbers, texts, namespaces and tensors, as they were saved, and of a plain pickle objects (see
        `snapshot.reading`); tensors are not checked yet.

    Raises:
        InputError: the file cannot be read, is damaged, or holds something else.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder: give the checkpoint file itself")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty: give a trained checkpoint")
        with path.open("rb") as file:
            if _is_safetensors(file, path):
                return dict(_read_safetensors(path))
            if is_plain_pickle(file):
                return read_snapshot(file, path)
            return as_state_dict(read_torch_file(file, path), str(path))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give the path of a trained checkpoint") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give another file") from None


def as_state_dict(content: object, place: str) -> dict[str, Any]:
    """A dict whose keys are texts.

    Raises:
        InputError: it is none.
    """
    if isinstance(content, dict) and all(isinstance(key, str) for key in content):
        return content
    kind = "dict whose keys are no texts" if isinstance(content, dict) else type(content).__name__
    raise InputError(f"{place} holds a {kind}, not a state dict: give a netG_<epoch>.pth or content.pth")


def _is_safetensors(file: BinaryIO, path: Path) -> bool:
    """By its content, or, where that is neither form, by its name; it is left at its start."""
    # The length of a header in 8 bytes, and the header, in JSON.
    begins_so = file.read(9)[8:] == b"{"
    file.seek(0)
    return begins_so or (path.suffix.lower() == ".safetensors" and not is_archive(file))


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load, load_file

    try:
        return load_file(path) if _is_utf8(path) else load(path.read_bytes())
    except OSError:
        raise
    except Exception as error:  # its own, and what PyTorch says to a type or a shape that it does not have
        raise InputError(
            f"{path} is not a safetensors file or is damaged ({short(str(error))}): copy it again"
        ) from None


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
