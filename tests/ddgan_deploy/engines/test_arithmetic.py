"""What engines say that they multiply in."""

from __future__ import annotations

import pytest

from ddgan_deploy.cli import sample
from ddgan_deploy.engines import arithmetic, open_artifact
from ddgan_deploy.engines.arithmetic import multiplies_in, name_and_type


@pytest.mark.parametrize(
    ("engine", "precision", "vnni", "dtype"),
    [
        ("onnxruntime", "fp32", True, "float32"),
        ("onnxruntime", "fp16", True, "float32"),
        ("onnxruntime", "int8", True, "int8"),
        ("onnxruntime", "int8", False, "float32"),
        ("onnxruntime-bf16", "fp16", True, "bfloat16"),
        ("onnxruntime-bf16", "int8", True, "int8"),
        ("onnxruntime-bf16", "int8", False, "bfloat16"),
        ("onnxruntime-portable", "fp16", True, "float32"),
        ("onnxruntime-portable", "int8", True, "float32"),
        ("openvino-f32", "fp16", True, "float32"),
        ("openvino-f32", "int8", True, "int8"),
        ("openvino-f32", "int8", False, "float32"),
        ("openvino-bf16", "fp32", True, "bfloat16"),
        ("tensorrt", "fp16", True, "float16"),
        ("tensorrt-rtx", "fp32", True, "float32"),
    ],
)
def test_the_type_of_products(engine, precision, vnni, dtype, monkeypatch):
    monkeypatch.setattr(arithmetic, "has_exact_int8", lambda: vnni)
    assert multiplies_in(engine, precision) == dtype


def test_what_is_the_artifacts_own_is_not_told(exports, biggan):
    for precision, words in (("fp32", "onnxruntime-portable"), ("fp16", "onnxruntime-portable, fp16 in float32")):
        with open_artifact(exports.golden(biggan, precision).path, "onnxruntime-portable") as engine:
            assert name_and_type(engine) == words


def test_who_draws_is_told(exports, biggan, tmp_path, capsys):
    folder = exports.golden(biggan, "fp16").path
    line = [str(folder), "--engine", "onnxruntime-portable"]
    assert sample.main([*line, "--seeds", "3", "--out", str(tmp_path / "one.png")]) == 0
    assert sample.main([*line, "--seeds", "3,4", "--interpolate", "2", "--out", str(tmp_path / "way.png")]) == 0
    told = capsys.readouterr()
    assert (told.out + told.err).count("images on onnxruntime-portable, fp16 in float32") == 2
