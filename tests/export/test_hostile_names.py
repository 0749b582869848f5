"""A checkpoint and a folder whose names are neither text nor markup go the whole way."""

from __future__ import annotations

import os
import shutil

import numpy as np
import onnx

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.cli import sample
from ddgan_deploy.engines import openvino
from ddgan_deploy.export import cli
from tests.conftest import golden_case

CHECKPOINT = os.fsdecode(b"net\xff\n\x1b[31m[b] :smile: 'q.pth")
RECORDED = "net\\xff\n\x1b[31m[b] :smile: 'q.pth"
FOLDER = os.fsdecode(b"out\xfe\n[b] ")


def test_an_export_and_its_images(tmp_path, capsys):
    golden, folder = golden_case("no_fir_t2"), tmp_path / FOLDER
    shutil.copy(golden.path, tmp_path / CHECKPOINT)
    source = ["--ckpt", tmp_path / CHECKPOINT, "--config", golden.config, "--steps", golden.steps]
    assert cli.main([*map(str, source), "--out", str(folder), "--engine", "none", "--no-verify"]) == 0
    said = capsys.readouterr()
    assert r"  net\xff\n\x1b[31m[b] :smile: 'q.pth, " in said.out
    assert rf"  {tmp_path}/out\xfe\n[b]" in said.out
    assert rf"next: ddgan-sample $'{tmp_path}/out\xfe\n[b] ' --seeds" in said.out
    assert "Trace the generator" in said.err and "error" not in said.err
    assert read_artifact(folder).manifest.checkpoint.file == RECORDED
    for name in (SAMPLER, SERVED):
        model = onnx.load(folder / name, load_external_data=False)
        assert {prop.key: prop.value for prop in model.metadata_props}["checkpoint"] == RECORDED
    assert "[b] :smile:" in (folder / "report.html").read_text(encoding="utf-8")
    engines = ["onnxruntime", "onnxruntime-portable", *(["openvino-f32"] if openvino.installed() else [])]
    for engine in engines:
        arrays = folder.with_name(f"{engine}{FOLDER}.npz")
        assert sample.main([str(folder), "--engine", engine, "--seeds", "0-1", "--npz", str(arrays)]) == 0
        assert capsys.readouterr().out == f"{tmp_path}/{engine}" + r"out\xfe\n[b] .npz" + "\n"
        assert np.load(arrays)["images"].shape[0] == 2
