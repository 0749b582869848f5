"""Golden snapshots through the whole pipeline, against what the published code made of them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.cli import verify as verify_command
from ddgan_deploy.engines.tensorrt.plan import BatchProfile
from ddgan_deploy.errors import InputError
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.export import cli as export_command
from ddgan_deploy.export.refit import RefitOptions, refit
from ddgan_deploy.export.tensorrt.engines import build_engines
from ddgan_deploy.export.tensorrt.options import EngineOptions
from ddgan_deploy.images import to_pixels
from ddgan_deploy.inputs import draw
from ddgan_deploy.progress import Clock
from tests.conftest import DATA
from tests.ddgan_deploy.families.stylegan2.published import made, tree, write

GOLDEN = DATA / "stylegan2"
CASES = ("dgan_sg2_skip", "dgan_sg2_cond_trunc", "dgan_sg2_random_noise")
TOLERANCE = 5e-5
"""Of the published image's largest value."""


def golden_inputs(case):
    """What the sampler is fed for a golden case, and all that was computed from it."""
    io = np.load(GOLDEN / case / "io.npz")
    count = len(io["z"])
    psi = np.full((count, 1), io["truncation_psi"], np.float32)
    inputs = {"z": io["z"][:, None].astype(np.float32), "truncation": psi}
    if io["c"].size:
        inputs["label"] = io["c"].argmax(1)[:, None]
    if str(io["noise_mode"]) == "random":
        names = sorted(name for name in io if name.startswith("noise_") and name[6:].isdigit())
        inputs.update({f"noise_{i}": io[name].astype(np.float32) for i, name in enumerate(names)})
    return inputs, io


def exported(case, folder, precision="fp32", **options):
    return export(
        ExportOptions(
            GOLDEN / case / "snapshot.pkl",
            out=folder / f"{case}-{precision}",
            config=GOLDEN / case / "args.json",
            fp16=precision == "fp16",
            int8=precision == "int8",
            engine="none",
            **options,
        )
    ).artifact


@pytest.fixture(scope="module", params=CASES)
def artifact(request, tmp_path_factory):
    return request.param, exported(request.param, tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    return exported("dgan_sg2_cond_trunc", tmp_path_factory.mktemp("conditional"))


@pytest.mark.parametrize("engine", ["onnxruntime-portable", "onnxruntime", "openvino-f32"])
def test_published_images_in_any_batch(artifact, library, engine):
    case, found = artifact
    inputs, io = golden_inputs(case)
    largest = np.abs(io["image"]).max()
    with open_artifact(found.path, engine) as opened:
        for rows in ([0], [0, 1], [1, 0, 1, 0, 0]):
            image = opened.sample({name: value[rows] for name, value in inputs.items()})
            assert np.abs(image - io["image"][rows]).max() <= TOLERANCE * largest
            assert np.abs(to_pixels(image).astype(int) - io["pixels"][rows]).max() <= 1


def test_published_values_inside(artifact):
    case, found = artifact
    inputs, io = golden_inputs(case)
    nodes = ["w", "b4/image", "b8/image", "b16/image"]
    with open_artifact(found.path, "onnxruntime-portable") as opened:
        w, *images = opened.probe(inputs, nodes)
    assert np.abs(w - io["w"][:, 0]).max() <= TOLERANCE * np.abs(io["w"]).max()
    for size, image in zip((4, 8, 16), images, strict=True):
        published = io[f"block/b{size}.img"]
        assert np.abs(image - published).max() <= TOLERANCE * np.abs(published).max()


def test_gates_look_at_w_and_at_every_size(artifact):
    _, found = artifact
    gates = [gate.name for gate in found.manifest.parity.gates]
    assert gates[1:6] == ["w", "b4 image", "b8 image", "b16 image", "x_0"]
    assert found.manifest.steps == 1 and found.manifest.parity.passed


def test_truncation_is_asked_at_run_time(conditional):
    """The published code's image without a cutoff differs from the artifact's own only in that."""
    inputs, io = golden_inputs("dgan_sg2_cond_trunc")
    with open_artifact(conditional.path, "onnxruntime-portable") as opened:
        plain = opened.sample({**inputs, "truncation": np.ones_like(inputs["truncation"])})
        assert np.abs(plain - io["image"]).max() > 0.1
        images = opened.generate([1, 2, 3], label=[4, 0, 2])
        np.testing.assert_array_equal(images, opened.generate([1, 2, 3], label=[4, 0, 2], truncation=0.7))
        assert (opened.generate([1, 2, 3], label=[4, 0, 2], truncation=1.0) != images).any()
        np.testing.assert_array_equal(
            opened.generate([1, 2, 3]), opened.generate([1, 2, 3], label=draw(_sampler(opened), [1, 2, 3])["label"])
        )


def _sampler(opened):
    return opened.artifact.manifest.sampler


def test_a_cutoff_of_all_layers_is_none(tmp_path, conditional):
    inputs, io = golden_inputs("dgan_sg2_cond_trunc")
    asked = {"truncation": 0.7, "truncation_cutoff": 8}
    options = ExportOptions(
        GOLDEN / "dgan_sg2_cond_trunc" / "snapshot.pkl", out=tmp_path / "all", engine="none", verify=False, asked=asked
    )
    with open_artifact(export(options).artifact.path, "onnxruntime-portable") as opened:
        image = opened.sample(inputs)
    assert np.abs(image - io["image_no_cutoff"]).max() <= TOLERANCE * np.abs(image).max()


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"label": 5}, "label 5 is out of range: give a number in -1..4"),
        ({"truncation": float("nan")}, "truncation nan is out of range"),
        ({"truncation": 1e9}, "truncation 1000000000 is out of range: give a number in -4..4"),
    ],
)
def test_knobs_out_of_range(conditional, knobs, says):
    with open_artifact(conditional.path, "onnxruntime-portable") as opened, pytest.raises(InputError, match=says):
        opened.generate([1], **knobs)


@pytest.mark.parametrize(("case", "precision"), [(CASES[2], "fp16"), (CASES[1], "fp16"), (CASES[1], "int8")])
def test_smaller_precisions(case, precision, tmp_path, library):
    """Gates hold, and what is close to the reference is close to what was published."""
    found = exported(case, tmp_path, precision)
    assert found.manifest.parity.passed
    inputs, io = golden_inputs(case)
    for engine in ("onnxruntime", "onnxruntime-portable"):
        with open_artifact(found.path, engine) as opened:
            both, one = opened.sample(inputs), opened.sample({name: value[:1] for name, value in inputs.items()})
        error = np.sqrt(np.mean((both - io["image"]) ** 2)) / io["image"].std()
        assert error <= (0.002 if precision == "fp16" else 0.03)
        if precision == "fp16":
            # The published code's own float16 depends on the batch.
            assert np.abs(one - both[:1]).max() <= 2e-2 * io["image"].std()
            assert np.abs(both - io["image_mixed_fp16"]).max() <= 0.05
    if precision == "fp16":
        assert found.manifest.kept_fp32 == ()


def test_other_architectures_pass_their_gates(tmp_path):
    """Without images on the way; and a snapshot of protocol 2."""
    it = made(architecture="resnet", clamp=2.0, taps=(1.0, 2.0, 4.0, 3.0), c_dim=2)
    path = write(tmp_path / "snapshot.pkl", {"G_ema": tree(it)}, protocol=2)
    found = export(ExportOptions(path, out=tmp_path / "out", engine="none", asked={"noise": "random"})).artifact
    assert [gate.name for gate in found.manifest.parity.gates][1:4] == ["w", "b4 features", "b8 features"]
    inputs = [tensor.name for tensor in found.manifest.graphs["sampler.onnx"].inputs]
    assert inputs == ["z", *(f"noise_{i}" for i in range(5)), "label", "truncation"]


def test_new_weights_go_into_an_artifact(tmp_path, conditional):
    """Of the same architecture; the artifact tells the noise, the cutoff and psi."""
    folder = tmp_path / "artifact"
    shutil.copytree(conditional.path, folder)
    snapshot = GOLDEN / "dgan_sg2_cond_trunc" / "snapshot.pkl"
    result = refit(RefitOptions(folder, snapshot))
    assert result.artifact.manifest.family == conditional.manifest.family
    other = GOLDEN / "dgan_sg2_skip" / "snapshot.pkl"
    with pytest.raises(InputError, match=r"has another architecture than .* \(c_dim 0, not 5\)"):
        refit(RefitOptions(folder, other))
    with pytest.raises(InputError, match=r"has another sampling than .* \(noise none, not const\)"):
        refit(RefitOptions(folder, snapshot, asked={"noise": "none"}))


def test_the_command_line(tmp_path, conditional, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = GOLDEN / "dgan_sg2_cond_trunc"
    assert verify_command.main([str(conditional.path), "--ckpt", str(case / "snapshot.pkl")]) == 0
    assert "gates passed" in capsys.readouterr().out
    line = ["--ckpt", str(case / "snapshot.pkl"), "--truncation", "0.7", "--truncation-cutoff", "4", "--engine", "none"]
    assert export_command.main([*line, "--no-verify"]) == 0
    manifest = json.loads((tmp_path / "snapshot-T1" / "manifest.json").read_text())
    assert manifest["family"] == json.loads((conditional.path / "manifest.json").read_text())["family"]
    assert manifest["assumed"][0]["name"] == "source"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--steps", "4"], "--steps 4 does not go with"),
        (["--truncation", "nan"], "--truncation nan is out of range: give a number in -4..4"),
        (["--truncation", "9"], "--truncation 9 is out of range: give a number in -4..4"),
        (["--truncation-cutoff", "9"], "--truncation-cutoff 9 is out of range: give 0..8"),
        (["--truncation-cutoff", "-1"], "--truncation-cutoff -1 is out of range: give 0..8"),
        (["--noise", "some"], "invalid choice: 'some'"),
        (["--weights", "raw"], "--weights raw does not go with"),
    ],
)
def test_wrong_flags_are_one_line(flags, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    snapshot = GOLDEN / "dgan_sg2_skip" / "snapshot.pkl"
    assert export_command.main(["--ckpt", str(snapshot), *flags]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"truncation_psi": "much"}, "truncation_psi is 'much', it must be a finite number"),
        ({"truncation_psi": 10**400}, "it must be a finite number"),
        ({"truncation_psi": 5}, "args.json: truncation_psi 5 is out of range: give a number in -4..4"),
        ({"noise_mode": "pink"}, "noise_mode is 'pink', it must be one of const, random, none"),
        ({"truncation_cutoff": 1.5}, "truncation_cutoff is 1.5, it must be an integer or null"),
        ({"trunc": 1}, "'trunc' is unknown: give noise_mode, truncation_psi, truncation_cutoff"),
    ],
)
def test_wrong_configs_are_one_line(config, says, tmp_path, capsys):
    path = tmp_path / "args.json"
    path.write_text(json.dumps(config))
    snapshot = GOLDEN / "dgan_sg2_skip" / "snapshot.pkl"
    assert export_command.main(["--ckpt", str(snapshot), "--config", str(path), "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("contents", [{"D": "G"}, {"G_ema": "D"}])
def test_snapshots_of_something_else(contents, tmp_path, capsys):
    from tests.ddgan_deploy.families.stylegan2.published import Persistent

    parts = {
        "G": tree(made()),
        "D": Persistent("Discriminator", _parameters={}, _buffers={}, _modules={}),
    }
    path = write(tmp_path / "snapshot.pkl", {name: parts[part] for name, part in contents.items()})
    assert export_command.main(["--ckpt", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert ("holds no G_ema" if "D" in contents else "its G_ema is a Discriminator") in error
    assert error.count("\n") == 1


def test_flags_of_another_family(biggan, tmp_path, capsys):
    line = ["--ckpt", str(biggan.path), "--steps", "4", "--noise", "const", "--out", str(tmp_path / "out")]
    assert export_command.main(line) == 2
    says = f"error: --noise does not go with {biggan.path}, a Denoising Diffusion GAN's generator: leave it out\n"
    assert capsys.readouterr().err == says


def test_the_report_shows_what_the_knobs_do(conditional):
    page = (conditional.path / "report.html").read_text(encoding="utf-8")
    assert "By truncation" in page and "By label" in page


def test_a_source_text_that_differs_is_named(tmp_path, capsys):
    """It goes on only where it is trusted, and then says so."""
    text = "".join(f"class {name}:\n    pass\n" for name in ("Generator", "SynthesisLayer"))
    path = write(tmp_path / "snapshot.pkl", {"G_ema": tree(made(size=4, channels=(5,)), text)})
    line = ["--ckpt", str(path), "--engine", "none", "--out", str(tmp_path / "out"), "--no-verify"]
    assert export_command.main(line) == 2
    error = capsys.readouterr().err
    assert "SynthesisLayer" in error and "give --trust-source" in error and error.count("\n") == 1
    assert export_command.main([*line, "--trust-source"]) == 0
    assert "and is trusted" in json.loads((tmp_path / "out" / "manifest.json").read_text())["assumed"][0]["source"]
    verify = [str(tmp_path / "out"), "--ckpt", str(path)]
    assert verify_command.main(verify) == 2
    assert verify_command.main([*verify, "--trust-source"]) == 0


def test_tensorrt_rtx_builds_an_engine(conditional, tmp_path):
    """Without a GPU, which would run it."""
    pytest.importorskip("tensorrt_rtx_bindings")
    folder = shutil.copytree(conditional.path, tmp_path / "artifact")
    options = EngineOptions(profile=BatchProfile(1, 2, 4), targets=("8.9",))
    (info,) = build_engines(Artifact(folder, conditional.manifest), "tensorrt-rtx", options, Clock())
    assert (folder / "sampler.rtx.plan").stat().st_size > 0 and info.compute_capabilities == ("8.9",)
