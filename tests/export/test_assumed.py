"""What was assumed stands on the screen, in the manifest and the graph's metadata, and at every verification."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest

from ddgan_deploy.artifact.manifest import SERVED, write_manifest
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.cli import verify
from ddgan_deploy.export import cli
from tests.conftest import golden_case

GOLDEN = golden_case("no_fir_t2")
NAMES = ["image_size", "num_timesteps", "beta_min", "beta_max", "use_geometric", "not_use_tanh", "centered"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An artifact of weights whose tanh and filter are stated, and nothing else."""
    root = tmp_path_factory.mktemp("assumed")
    stated = {name: value for name, value in json.loads(GOLDEN.config.read_text()).items() if name not in NAMES}
    (root / "args.json").write_text(json.dumps({k: v for k, v in stated.items() if k != "attn_resolutions"}))
    arguments = ("--ckpt", GOLDEN.path, "--config", root / "args.json", "--steps", "2", "--out", root / "artifact")
    assert cli.main([*map(str, arguments), "--no-verify", "--engine", "none"]) == 0
    return root / "artifact"


def test_manifest_and_metadata(folder):
    manifest = read_artifact(folder).manifest
    assert [assumed.name for assumed in manifest.assumed] == NAMES
    assert manifest.checkpoint.weights == "as stored"
    metadata = {each.key: each.value for each in onnx.load(folder / SERVED, load_external_data=False).metadata_props}
    assert json.loads(metadata["assumed"]) == {assumed.name: assumed.value for assumed in manifest.assumed}


def test_screen_of_export_and_verification(folder, capfd):
    (config := folder.parent / "config.json").write_text("{}")
    arguments = ("--ckpt", GOLDEN.path, "--config", config, "--steps", "2", "--out", folder.parent / "other")
    assert cli.main([*map(str, arguments), "--no-verify", "--engine", "none"]) == 0
    screen = " ".join(capfd.readouterr().out.split())
    for assumed in read_artifact(folder.parent / "other").manifest.assumed:
        assert f"{assumed.name} {assumed.value}" in screen
    assert "assumed image_size 32: attention is taken to sit at resolution 16, as published" in screen
    assert "--config content.pth of the same training" in screen and "weights as stored" in screen
    assert verify.main([str(folder), "--ckpt", str(GOLDEN.path), "--config", str(folder.parent / "args.json")]) == 0
    errors = capfd.readouterr().err
    assert "note: assumed: beta_min 0.1, beta_max 20.0" in errors


def test_a_refit_assumes_no_more_than_the_export(folder, tmp_path):
    artifact = tmp_path / "artifact"
    shutil.copytree(folder, artifact)
    arguments = ("--refit", artifact, "--ckpt", GOLDEN.path, "--no-verify")
    assert cli.main([*map(str, arguments)]) == 0
    assert [assumed.name for assumed in read_artifact(artifact).manifest.assumed] == NAMES
    (tmp_path / "args.json").write_text('{"beta_max": 20.0}')
    assert cli.main([*map(str, (*arguments, "--config", tmp_path / "args.json"))]) == 0
    assert [assumed.name for assumed in read_artifact(artifact).manifest.assumed] == [
        n for n in NAMES if n != "beta_max"
    ]


def test_a_verification_refuses_another_schedule(folder, tmp_path, capsys):
    (tmp_path / "args.json").write_text('{"beta_max": 12.0}')
    command = [str(folder), "--ckpt", str(GOLDEN.path), "--config", str(tmp_path / "args.json")]
    assert verify.main(command) == 2
    assert "another sampling than" in capsys.readouterr().err


def test_manifests_from_before_still_open(folder, tmp_path):
    artifact = tmp_path / "artifact"
    shutil.copytree(folder, artifact)
    manifest = json.loads((artifact / "manifest.json").read_text())
    del manifest["assumed"]
    manifest["checkpoint"]["weights"] = "ema"
    (artifact / "manifest.json").write_text(json.dumps(manifest))
    read = read_artifact(artifact).manifest
    assert read.assumed == () and read.checkpoint.weights == "ema"
    write_manifest(artifact, read)


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"num_timesteps": 4}, "was trained for 4 steps"),
        ({"not_use_tanh": True}, "another architecture"),
        ({"beta_min": 0.2}, "another sampling"),
    ],
)
def test_a_verification_blames_the_config(folder, tmp_path, capsys, stated, says):
    config = tmp_path / "args.json"
    config.write_text(json.dumps(stated))
    assert verify.main([str(folder), "--ckpt", str(GOLDEN.path), "--config", str(config)]) == 2
    message = capsys.readouterr().err
    assert f"{GOLDEN.path} with {config}" in message and says in message and "correct or leave out --config" in message
