"""Artifacts that only look like one."""

from __future__ import annotations

from pathlib import Path

from ddgan_deploy.artifact.manifest import (
    SAMPLER,
    SERVED,
    WEIGHTS,
    CheckpointInfo,
    GraphInfo,
    Manifest,
    TensorInfo,
    write_manifest,
)
from ddgan_deploy.artifact.reading import file_infos
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.family import FAMILY
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.families.registry import info_of

FILES = (SAMPLER, SERVED, WEIGHTS)
MODEL, SAMPLING = GeneratorConfig(8, 1, 8, (1, 2), 1, 4, 4, 1, (4,)), Schedule(2)


def manifest(folder: Path) -> Manifest:
    image = ("batch", 1, 8, 8)
    sampler = GraphInfo(
        (
            TensorInfo("x_T", "float32", image),
            TensorInfo("z", "float32", ("batch", 2, 4)),
            TensorInfo("noise", "float32", ("batch", 1, 1, 8, 8)),
        ),
        (TensorInfo("x_0", "float32", image),),
        5,
    )
    served = GraphInfo(
        (TensorInfo("seed", "int64", ("batch", 1)),), (TensorInfo("image", "uint8", ("batch", 8, 8, 1)),), 5
    )
    return Manifest(
        format_version=2,
        created="2025-01-01T00:00:00+00:00",
        checkpoint=CheckpointInfo("netG.pth", "0" * 64, "ema", 7),
        family=info_of(FAMILY, MODEL, SAMPLING),
        sampler=FAMILY.sampler(MODEL, SAMPLING),
        probes=FAMILY.probes(MODEL, SAMPLING),
        steps=2,
        precision="fp32",
        kept_fp32=(),
        graphs={SAMPLER: sampler, SERVED: served},
        versions={"ddgan_deploy": "0"},
        parity=None,
        facts=FAMILY.facts(MODEL, SAMPLING),
        files=file_infos(folder, list(FILES)),
    )


def fill(folder: Path, text: str = "first") -> None:
    """The files of an artifact, which only look like one."""
    for name in FILES:
        (folder / name).write_text(f"{text} {name}")
    write_manifest(folder, manifest(folder))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
