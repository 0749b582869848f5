"""Arrows only downward: export stands on ddgan_deploy, which stands on kernels."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "kernels").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_kernels_import_neither(path):
    assert not any(name.startswith("ddgan_deploy") for name in _imports(path))


def test_ddgan_deploy_never_imports_export():
    own = [p for p in (ROOT / "ddgan_deploy").rglob("*.py") if not p.is_relative_to(ROOT / "ddgan_deploy/export")]
    assert len(own) > 15
    for path in own:
        assert not any(name.startswith("ddgan_deploy.export") for name in _imports(path)), path


def test_families_know_nothing_of_onnx():
    for path in (ROOT / "ddgan_deploy" / "families").rglob("*.py"):
        assert not any(name.split(".")[0].startswith("onnx") for name in _imports(path)), path


def _rooms(runtime: str) -> set[str]:
    """The modules that import a runtime, at the top or inside a function."""
    folders = [ROOT / folder for folder in ("ddgan_deploy", "kernels", "export")]
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in folder.rglob("*.py")
        if runtime in {name.split(".")[0] for name in _imports(path)}
    }


def test_runtimes_stay_in_their_rooms():
    ops = ("adagn", "philox_normal", "posterior_sample")
    assert _rooms("triton") == {"kernels/aot.py", *(f"kernels/{op}/tl_kernel.py" for op in ops)}
    assert _rooms("tensorrt") <= {
        "export/tensorrt/build.py",
        "ddgan_deploy/engines/tensorrt/engine.py",
        "kernels/trt_launch.py",
        *(f"kernels/{op}/trt_plugin.py" for op in ops),
    }
    assert _rooms("tritonclient") == {
        "ddgan_deploy/serving/client/statistics.py",
        "ddgan_deploy/serving/client/transports.py",
    }
    assert _rooms("openvino") == {
        "ddgan_deploy/engines/openvino.py",
        *(f"kernels/{op}/ov_op.py" for op in ("adagn", "posterior_sample")),
    }
