"""The oldest packages that pyproject.toml promises to take, all at once, export today's graphs.

PyTorch's is not among them: it is too large to fetch for a test.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.manifest import SAMPLER, SERVED
from tests.conftest import golden_case
from tests.export.structure import structure
from tests.export.test_golden_export import PINNED
from tests.packages import ROOT, packages, python_with

CASE = "no_fir_t2"
_EXPORT = """
import sys
from importlib.metadata import version
from pathlib import Path
from ddgan_deploy.export import ExportOptions, export

checkpoint, config, steps, out = sys.argv[1:5]
options = {"config": Path(config), "out": Path(out), "engine": "none", "verify": False}
export(ExportOptions(Path(checkpoint), int(steps), **options))
print(*(f"{each}=={version(each)}" for each in sys.argv[5:]))
"""


def floors() -> list[str]:
    """Of what the package itself depends on but PyTorch, and of what pydantic pins, as requirements."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found = [each.replace(">=", "==") for each in dependencies if not each.startswith("torch>=")]
    assert len(found) == len(dependencies) - 1
    return [*found, "pydantic-core==2.18.1"]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="there are no wheels of NumPy 1 for this Python")
def test_today_s_graphs(tmp_path: Path) -> None:
    golden, requirements, out = golden_case(CASE), floors(), tmp_path / "artifact"
    assert golden.config is not None
    names = [each.partition("==")[0] for each in requirements]
    arguments = [str(each) for each in (golden.path, golden.config, golden.steps, out, *names)]
    done = python_with(packages(*requirements), "-c", _EXPORT, *arguments)
    assert done.returncode == 0, done.stderr
    used = done.stdout.split()
    assert len(used) == len(requirements)
    assert all(f"{ours}.".startswith(f"{asked}.") for ours, asked in zip(used, requirements, strict=True)), used
    for name in (SAMPLER, SERVED):
        assert structure(out / name) == PINNED[CASE][name]
    # What structure() leaves out: the weights.
    with open_artifact(out, "onnxruntime-portable") as opened:
        assert np.abs(opened.sample(golden.inputs) - golden.io["x_prev"][-1]).max() <= 1e-4
