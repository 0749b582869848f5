"""Golden files, files like them, and what is said of those that are wrong."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.errors import InputError
from tests.conftest import DATA

NET_G = DATA / "biggan" / "netG.pth"
CONTENT = DATA / "training_state" / "content.pth"
STATE: dict[str, torch.Tensor] = torch.load(NET_G, weights_only=True)
KEYS = [key.removeprefix("module.") for key in STATE]
CONV, NORM = "all_modules.4.Conv_0.weight", "all_modules.7.GroupNorm_0.bias"


def training_state() -> dict[str, Any]:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(CONTENT, weights_only=True)


def silent() -> Iterator[None]:
    """No warning may add a second line to the error."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    assert [str(warning.message) for warning in said] == []


def refusal(path: Path, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as caught:
        load_checkpoint(path, *args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert len(message) < 500
    return message


def saved(folder: Path, content: object, name: str = "netG.pth", **kwargs: Any) -> Path:
    path = folder / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, path, **kwargs)
    return path


def written(folder: Path, content: bytes, name: str = "netG.pth") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
