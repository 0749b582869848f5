"""A family that nobody knew goes the whole way: nothing else needs to change for one."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.cli import verify as verify_command
from ddgan_deploy.errors import InputError
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.export.report.sweeps import draw_sweeps
from ddgan_deploy.families import registry
from ddgan_deploy.images import to_pixels
from ddgan_deploy.inputs import draw, examples
from tests.families.toy import UPSAMPLER, write_checkpoint

SEEDS = [3, 4, 5]


@pytest.fixture(scope="module", autouse=True)
def toy():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.FAMILIES, "toy", "tests.families.toy")
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("toy") / "toy.safetensors")


@pytest.fixture(scope="module", params=["fp32", "fp16", "int8", "fp16 loop"])
def artifact(request, checkpoint, tmp_path_factory):
    precision, _, loop = request.param.partition(" ")
    options = ExportOptions(
        checkpoint,
        out=tmp_path_factory.mktemp("toy") / precision,
        fp16=precision == "fp16",
        int8=precision == "int8",
        engine="none",
        loop="always" if loop else "never",
    )
    artifact = export(options).artifact
    assert artifact.manifest.looped == bool(loop)
    return artifact


def test_the_file_tells_its_family(checkpoint, biggan):
    assert load_checkpoint(checkpoint).family.name == "toy"
    assert load_checkpoint(biggan.path).family.name == "ddgan"


def test_its_gates_are_its_own(artifact):
    parity = artifact.manifest.parity
    assert parity is not None and parity.passed
    assert [gate.name for gate in parity.gates][1:3] == ["step 0 x", "step 1 x_0"]
    assert artifact.manifest.steps == 2 and artifact.manifest.family.model == {"size": 8, "upsampler": False}


def test_the_graphs_take_its_knobs(artifact):
    inputs = {name: [info.name for info in graph.inputs] for name, graph in artifact.manifest.graphs.items()}
    assert inputs == {"sampler.onnx": ["x_T", "gain", "label"], "ddgan.onnx": ["seed", "gain", "label"]}


@pytest.mark.parametrize("engine", ["onnxruntime", "onnxruntime-portable", "openvino-f32"])
def test_every_engine_draws_with_the_knob(artifact, library, engine):
    sampler = artifact.manifest.sampler
    with open_artifact(artifact.path, engine) as opened:
        default = opened.generate(SEEDS)
        np.testing.assert_array_equal(default, opened.generate(SEEDS, gain=1.0))
        each = opened.generate(SEEDS, gain=[1.0, 3.0, 0.5])
        np.testing.assert_array_equal(each[0], default[0])
        assert (each[1:] != default[1:]).any(axis=(1, 2, 3)).all()
        labels = draw(sampler, SEEDS)["label"]
        np.testing.assert_array_equal(default, opened.generate(SEEDS, label=labels))
        assert (opened.generate(SEEDS, label=(labels + 5) % 10) != default).any(axis=(1, 2, 3)).all()
        x_0 = opened.sample(draw(sampler, SEEDS, {"gain": [1.0, 3.0, 0.5]}))
        assert np.abs(each.astype(int) - to_pixels(x_0)).max() <= 1
        for wrong, says in (
            ({"gain": 11}, "gain 11 is out of range"),
            ({"gain": [1, 2]}, r"gain has shape \[2\]: give float32 \[1\] for all images, or \[3, 1\]"),
            ({"pitch": 1}, "there is no knob pitch, only gain, label"),
        ):
            with pytest.raises(InputError, match=says):
                opened.generate(SEEDS, **wrong)


def test_the_report_tells_of_it(artifact):
    page = (artifact.path / "report.html").read_text(encoding="utf-8")
    assert "a toy" in page and "step 1" in page and "Latent" not in page


def test_the_report_shows_what_its_knobs_do(artifact):
    """For four seeds: three gains and eleven labels, each the image that the engine draws."""
    page = (artifact.path / "report.html").read_text(encoding="utf-8")
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)" width="\d+" height="\d+" alt="([^"]+)">', page)
    shown = {alt: file for file, alt in pictures}
    assert len([alt for alt in shown if ", gain " in alt]) == 4 * 3
    assert len([alt for alt in shown if ", label " in alt]) == 4 * 11
    with open_artifact(artifact.path, "onnxruntime-portable") as opened:
        for alt, seed, knobs in (
            ("seed 2, gain 2.5", 2, {"gain": 2.5}),
            ("seed 3, label 9", 3, {"label": 9}),
            ("seed 1, label -1 (drawn)", 1, {}),
        ):
            picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown[alt]))))
            np.testing.assert_array_equal(picture[::16, ::16], opened.generate([seed], **knobs)[0])
    assert shown["seed 1, gain 1 (default)"] == shown["served image of seed 1"]
    assert artifact.manifest.sampler.knobs[0].swept == (0, 1, 2.5)
    assert len(page) < 500_000


def test_a_knob_that_must_be_given_is_the_same_along_a_sweep(tmp_path):
    """The picture that is to be enlarged belongs to its seed: what differs in a row comes of the swept knob alone."""
    path = write_checkpoint(tmp_path / "upsampler.safetensors", UPSAMPLER)
    made = export(ExportOptions(path, out=tmp_path / "made", engine="none", verify=False)).artifact
    with open_artifact(made.path, "onnxruntime-portable") as engine:
        gain, label = draw_sweeps(engine)
        pictures = examples(made.manifest.sampler.knobs, [0, 1, 2, 3])
        expected = engine.generate([3], gain=2.5, low_res=pictures["low_res"][3:])
    assert gain.columns == ["0", "1 (default)", "2.5"] and label.columns[:2] == ["-1 (drawn)", "0"]
    np.testing.assert_array_equal(gain.images[3, 2], expected[0])
    np.testing.assert_array_equal(gain.images[:, 1], label.images[:, 0])


def test_an_artifact_from_before_sweeps_is_read(artifact, tmp_path):
    copy = tmp_path / "old"
    shutil.copytree(artifact.path, copy)
    content = json.loads((copy / "manifest.json").read_text())
    assert [knob.pop("swept")[:2] for knob in content["sampler"]["knobs"]] == [[0, 1], [-1, 0]]
    (copy / "manifest.json").write_text(json.dumps(content))
    assert [knob.swept for knob in read_artifact(copy).manifest.sampler.knobs] == [(), ()]


def test_the_command_verifies_it(artifact, checkpoint, capsys):
    assert verify_command.main([str(artifact.path), "--ckpt", str(checkpoint)]) == 0
    assert "gates passed" in capsys.readouterr().out


def test_an_engine_that_is_wrong_is_told_from_the_knob_alone(artifact, checkpoint, monkeypatch):
    """The gates try other values than the default: a graph that does not look at the knob fails."""
    from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
    from ddgan_deploy.parity.verify import verify

    honest = OnnxRuntime.probe
    deaf = lambda self, inputs, *rest: honest(self, {**inputs, "gain": np.ones_like(inputs["gain"])}, *rest)  # noqa: E731
    monkeypatch.setattr(OnnxRuntime, "probe", deaf)
    result = verify(load_checkpoint(checkpoint), open_artifact(artifact.path, "onnxruntime-portable")).result
    assert "step 0 x" in [gate.name for gate in result.failures]


def test_an_artifact_runs_where_its_family_is_unknown(artifact):
    """In a process that never heard of it, and that imports no family and no PyTorch."""
    code = (
        "import sys; from ddgan_deploy import open_artifact\n"
        f"print(open_artifact({str(artifact.path)!r}, 'onnxruntime-portable').generate([1], gain=2).shape)\n"
        "print([name for name in sys.modules if '.families' in name or name == 'torch'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 8, 8, 3)\n[]\n"
    assert read_artifact(artifact.path).manifest.family.name == "toy"
