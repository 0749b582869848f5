"""Arrows only downward: who may import whom, and what stays within its walls."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ddgan_deploy.families.registry import FAMILIES

ROOT = Path(__file__).parent.parent
FLOORS = (
    "kernels",
    "errors names scratch gpu processor",
    "files sampler data knob_flags",
    "inputs images interpolation plots progress screen command processes quality",
    "weight_files",
    "artifact",
    "engines families",
    "checkpoint same_network",
    "parity",
    "bench bulk serving",
    "play",
    "cli",
    "export",
)
"""From the ground upward; a room stands on those of its own floor and below."""
EXPORT_FLOORS = (
    "loop_choice recipe",
    "graph",
    "families",
    "precision",
    "tensorrt",
    "repository",
    "report tuning web",
    "options proof pipeline rebuild refit cascade cli",
)
"""Within export; see `FLOORS`."""


def _sources() -> dict[str, Path]:
    """Module -> file, of everything that is ours."""
    found = {}
    for folder in ("ddgan_deploy", "export", "kernels"):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if folder != "ddgan_deploy":
                parts = ("ddgan_deploy", *parts)
            elif parts[1] in ("export", "kernels", "triton_repo"):
                continue  # links to the folders beside it
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def _imports(path: Path, of_types: bool = True) -> set[str]:
    """The modules that a file imports anywhere; with ``of_types`` also those that only type checkers import."""
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not of_types:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(names & SOURCES.keys() or {node.module})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


SOURCES = _sources()
ARROWS = {module: _imports(path, of_types=False) & SOURCES.keys() for module, path in SOURCES.items()}


def _floor(module: str, within: str, floors: tuple[str, ...]) -> int:
    room = module.removeprefix(within).lstrip(".").split(".")[0]
    found = [level for level, rooms in enumerate(floors) if room in rooms.split()]
    assert found or not room, f"{module} is on no floor: say which"
    return found[0] if found else len(floors)


@pytest.mark.parametrize(("within", "floors"), [("ddgan_deploy", FLOORS), ("ddgan_deploy.export", EXPORT_FLOORS)])
def test_no_import_runs_up(within, floors):
    up = [
        (module, other)
        for module, others in ARROWS.items()
        for other in others
        # What a package itself offers is imported at first use.
        if module.startswith(f"{within}.") and other.startswith(f"{within}.")
        if _floor(other, within, floors) > _floor(module, within, floors)
    ]
    assert not up


def test_no_circles():
    """Of modules; a package that offers what is in it, at first use, is none."""
    graph = {module: {other for other in others if other != module} for module, others in ARROWS.items()}
    for package in (module for module, path in SOURCES.items() if path.name == "__init__.py"):
        graph[package] = {other for other in graph[package] if not other.startswith(f"{package}.")}
    while leaves := [module for module, others in graph.items() if not others & graph.keys()]:
        for leaf in leaves:
            del graph[leaf]
    assert not graph


HEIRS = {"adm": {"consistency"}}
"""Family -> those that are made of its parts; never the other way round."""
SHARED = {"adm": {"ddgan_deploy.export.families.unet"}}
"""Family -> what makes graphs of its parts for more families than its own."""


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_imported_by_its_own_alone(name):
    """All others, of its kind too, ask the registry, and what runs an artifact asks nobody."""
    family = f"ddgan_deploy.families.{name}"
    known = {
        module
        for module, path in SOURCES.items()
        if not module.startswith(family) and any(other.startswith(family) for other in _imports(path))
    }
    own = {f"ddgan_deploy.export.families.{name}"} | SHARED.get(name, set())
    assert {module for module in known if _family_of(module) not in HEIRS.get(name, ())} == own


def _family_of(module: str) -> str:
    """Whose it is; "" of none."""
    return module.partition(".families.")[2].split(".")[0]


RUNS = (
    "ddgan_deploy.artifact",
    "ddgan_deploy.engines",
    "ddgan_deploy.serving",
    "ddgan_deploy.bulk",
    "ddgan_deploy.cli.bulk",
    "ddgan_deploy.play",
    "ddgan_deploy.cli.play",
    "ddgan_deploy.cli.sample",
    "ddgan_deploy.inputs",
)


def test_an_artifact_runs_without_its_family():
    reached, ahead = set(), [module for module in ARROWS if module.startswith(RUNS)]
    while ahead:
        module = ahead.pop()
        if module not in reached:
            reached.add(module)
            ahead += ARROWS[module]
    assert not {module for module in reached if ".families." in module}


NAMES_OF_DDGAN = re.compile(
    r"\bx_T\b|\"z\"|'z'|\bPosteriorSample\b|\bPOSTERIOR_SAMPLE\b|\bSchedule\b|\bGenerator(?:Config)?\b|\bnz\b|\bNCSN"
)
KNOWING = {
    "ddgan_deploy/artifact/format1.py": "format 1 had no other family",
}
"""Files that may speak of one family, and why."""


def _without_words(path: Path) -> str:
    """The code of a file, without docstrings and comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            node.value.value = ""
    return ast.unparse(tree)


def test_nothing_outside_speaks_of_a_family():
    speaking = {
        path.relative_to(ROOT).as_posix(): match[0]
        for module, path in SOURCES.items()
        if ".families." not in module and ".kernels." not in module
        if (match := NAMES_OF_DDGAN.search(_without_words(path)))
    }
    assert speaking.keys() == KNOWING.keys(), speaking


@pytest.mark.parametrize("module", [module for module in SOURCES if module.startswith("ddgan_deploy.families")])
def test_families_know_nothing_of_onnx(module):
    assert not any(name.split(".")[0].startswith("onnx") for name in _imports(SOURCES[module]))


def _rooms(runtime: str) -> set[str]:
    """The modules that import a runtime, at the top or inside a function."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES.values()
        if runtime in {name.split(".")[0] for name in _imports(path)}
    }


def test_runtimes_stay_in_their_rooms():
    ops = ("adagn", "adagn_grad", "philox_normal", "reverse_step", "style_lrelu")
    assert _rooms("triton") == {
        "kernels/aot.py",
        "kernels/compile.py",
        "kernels/adagn/tl_groups.py",
        *(f"kernels/{op}/tl_kernel.py" for op in ops),
    }
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
    assert _rooms("gradio") == {"ddgan_deploy/play/page.py"}
    assert _rooms("openvino") == {
        "ddgan_deploy/engines/openvino.py",
        *(f"kernels/{op}/ov_op.py" for op in ("posterior_sample", *ops) if op != "philox_normal"),
    }
