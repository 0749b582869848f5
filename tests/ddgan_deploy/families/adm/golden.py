"""Golden cases of ADM: what the published code computes of weights that follow from their names and shapes."""

from __future__ import annotations

import functools
import json
import zlib
from dataclasses import dataclass
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.families.adm.checkpoint import AdmCheckpoint

DATA = Path(__file__).parents[3] / "data" / "adm"
CASES = ("classcond_ddim", "guided_ddim", "guided_ddpm", "uncond_ddpm", "upsampler", "wide_guided_ddpm")
SMALL = CASES[:-1]


def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Of that name, in the golden data: normal numbers of a generator that the name seeds, scaled by what it is."""
    values = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape).astype(np.float32)
    last_of_classifier = name in ("out.2.c_proj.weight", "out.3.weight") or (name == "out.2.weight" and len(shape) == 2)
    if name == "out.2.weight" and len(shape) == 4 and shape[0] == 6:
        values[3:] *= np.float32(0.3)
    if "positional_embedding" in name or name.startswith("label_emb."):
        values *= np.float32(0.5)
    elif len(shape) > 1:
        values = values * np.float32(20 if last_of_classifier else 1) / np.float32(sqrt(prod(shape[1:])))
    else:
        values = np.float32(name.endswith(".weight")) + np.float32(0.1) * values
    return torch.from_numpy(values.astype(np.float32))


def state_dict(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Weights of these names and shapes."""
    return {name: weight(name, tuple(shape)) for name, shape in shapes.items()}


@dataclass(frozen=True)
class AdmCase:
    """One case.

    Attributes:
        args: of the published scripts.
        io: what went in and out; steps in running order.
    """

    name: str
    args: dict[str, Any]
    io: dict[str, np.ndarray]

    @property
    def config(self) -> Path:
        return DATA / self.name / "args.json"

    @property
    def is_guided(self) -> bool:
        return "gradient" in self.io

    def inputs(self) -> dict[str, np.ndarray]:
        """Of the sampler."""
        io, found = self.io, {"x_T": self.io["x_T"]}
        if "noise" in io:
            found["noise"] = np.ascontiguousarray(io["noise"][:-1].swapaxes(0, 1))
        if "y" in io:
            found["label"] = io["y"][:, None]
        if self.is_guided:
            found["guidance"] = np.full((len(io["y"]), 1), self.args["classifier_scale"], np.float32)
        if "low_res" in io:
            found["low_res"] = io["low_res"]
        return found

    def write(self, folder: Path) -> tuple[Path, dict[str, Any]]:
        """The checkpoint, and what its family is asked: where the classifier is."""
        shapes = json.loads((DATA / self.name / "shapes.json").read_text())
        paths = {kind: folder / f"{self.name}-{kind}.pt" for kind in shapes}
        for kind, path in paths.items():
            if not path.exists():
                torch.save(state_dict(shapes[kind]), path)
        return paths["model"], {"classifier": paths["classifier"]} if "classifier" in paths else {}

    def load(self, folder: Path) -> AdmCheckpoint:
        path, asked = self.write(folder)
        found = load_checkpoint(path, self.config, asked=asked)
        assert isinstance(found, AdmCheckpoint)
        return found


@functools.cache
def adm_case(name: str) -> AdmCase:
    args = json.loads((DATA / name / "args.json").read_text())
    return AdmCase(name, args, dict(np.load(DATA / name / "io.npz")))
