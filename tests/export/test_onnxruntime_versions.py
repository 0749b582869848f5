"""The files in ONNX Runtimes from the oldest to the newest; the package with the oldest that it promises to take."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.manifest import SAMPLER, SERVED
from ddgan_deploy.engines.onnxruntime.session import new_session
from tests.conftest import DATA
from tests.exports import Exports
from tests.packages import ROOT, packages, python_with

SEEDS = [0, 1, -1, 2**63 - 1]
OLDEST = ("onnxruntime==1.17.3", "numpy==1.26.4")
"""What the files alone need. It was built for NumPy 1; from Python 3.13 on there is no wheel of it."""
NEWEST = ("onnxruntime==1.32.0",)
_RUN = """
import sys
import numpy, onnxruntime

options = onnxruntime.SessionOptions()
options.log_severity_level = 3
folder, inputs, *artifacts = sys.argv[1:]
for number, artifact in enumerate(artifacts):
    for name in ("sampler.onnx", "ddgan.onnx"):
        session = onnxruntime.InferenceSession(f"{artifact}/{name}", options, providers=["CPUExecutionProvider"])
        feeds = dict(numpy.load(f"{inputs}/{number}-{name}.npz"))
        numpy.save(f"{folder}/{number}-{name}.npy", session.run(None, feeds)[0])
print("onnxruntime==" + onnxruntime.__version__)
"""
_SAMPLE = """
import sys
import onnxruntime
from ddgan_deploy.cli.sample import main

for number, artifact in enumerate(sys.argv[2:]):
    for engine in ("onnxruntime", "onnxruntime-portable"):
        drawn = f"{sys.argv[1]}/{number}-{engine}.npz"
        assert main([artifact, "--engine", engine, "--seeds", "0-3", "--npz", drawn]) == 0
print("onnxruntime==" + onnxruntime.__version__)
"""


def floor() -> str:
    """The oldest that pyproject.toml promises, as a requirement."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (found,) = (each for each in extras["cpu"] if each.startswith("onnxruntime"))
    assert found in " ".join(extras["gpu"]).replace("-gpu", "")
    return found.replace(">=", "==")


@pytest.fixture(scope="module")
def fp32(exports: Exports) -> Path:
    """The bundled checkpoint's artifact."""
    return exports.digits().path


@pytest.fixture(scope="module")
def fp16(exports: Exports) -> Path:
    return exports.digits("fp16").path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what the files are fed with lies, by artifact and file."""
    return tmp_path_factory.mktemp("inputs")


@pytest.fixture(scope="module")
def expected(fp32: Path, fp16: Path, inputs: Path) -> dict[tuple[int, str], np.ndarray]:
    """Outputs of both artifacts' files in this environment."""
    rng, outputs = np.random.default_rng(0), {}
    for number, artifact in enumerate((fp32, fp16)):
        for name in (SAMPLER, SERVED):
            session = new_session(artifact / name)
            drawn = {value.name: rng.normal(size=[len(SEEDS), *value.shape[1:]]) for value in session.get_inputs()}
            feeds = {key: value.astype(np.float32) for key, value in drawn.items()}
            if "seed" in feeds:
                feeds["seed"] = np.array(SEEDS)[:, None]
            np.savez(inputs / f"{number}-{name}.npz", **feeds)
            (outputs[number, name],) = session.run(None, feeds)
    return outputs


@pytest.mark.parametrize("requirements", [OLDEST, (floor(),), NEWEST], ids=lambda names: names[0])
def test_the_files_compute_the_same(
    fp32: Path,
    fp16: Path,
    inputs: Path,
    expected: dict[tuple[int, str], np.ndarray],
    requirements: tuple[str, ...],
    tmp_path: Path,
) -> None:
    if requirements == OLDEST and sys.version_info >= (3, 13):
        pytest.skip("there is no wheel for this Python")
    done = python_with(packages(*requirements), "-c", _RUN, tmp_path, inputs, fp32, fp16)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == requirements[0]
    # Convolutions sum in another order; in fp16 their results are rounded to it.
    allowed = {(0, SAMPLER): 1e-4, (1, SAMPLER): 1e-2, (0, SERVED): 1, (1, SERVED): 1}
    for place, ours in expected.items():
        theirs = np.load(tmp_path / f"{place[0]}-{place[1]}.npy")
        assert theirs.dtype == ours.dtype
        np.testing.assert_allclose(theirs.astype(float), ours.astype(float), rtol=0, atol=allowed[place])


@pytest.mark.parametrize("requirement", [floor(), *NEWEST])
def test_the_package_draws_the_same(fp32: Path, library: Path, requirement: str, tmp_path: Path) -> None:
    """On both engines, by a file of today and by one of before, whose functions ONNX Runtime 1.24 confuses."""
    artifacts = [fp32, DATA / "format1" / "artifact"]
    done = python_with(packages(requirement), "-c", _SAMPLE, tmp_path, *artifacts)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == requirement
    for number, artifact in enumerate(artifacts):
        with open_artifact(artifact, "onnxruntime-portable") as opened:
            ours = opened.generate(range(4)).astype(int)
        for engine in ("onnxruntime", "onnxruntime-portable"):
            theirs = np.load(tmp_path / f"{number}-{engine}.npz")["images"]
            assert np.abs(theirs - ours).max() <= 1
