"""Other people's tools on our files: what they write computes the same, or they say that they cannot."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.compose
import onnx.inliner
import onnx.parser
import onnx.reference
import onnx.utils
import onnx.version_converter
import onnx_graphsurgeon as gs
import onnxoptimizer
import onnxruntime
import onnxslim
import openvino
import pytest

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED
from tests.conftest import golden_case
from tests.exports import Exports
from tests.packages import packages, python_with

ONNXSIM = "onnxsim==0.8.1"
"""Of 38 MB, in a folder of its own."""
Tool = Callable[[Path, Path], None]


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def artifact(request: pytest.FixtureRequest, exports: Exports) -> Path:
    return exports.golden(golden_case("no_fir_t2"), request.param).path


def run(model: Path | onnx.ModelProto) -> np.ndarray:
    """The output of a file or a model with its weights, in stock ONNX Runtime, from made-up inputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds({value.name: value.shape[1:] for value in session.get_inputs()}))[0]


def feeds(shapes: Mapping[str, list[int]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = {name: rng.normal(size=[2, *shape]).astype(np.float32) for name, shape in shapes.items()}
    return {name: np.array([[3], [-7]]) if name.endswith("seed") else value for name, value in drawn.items()}


ours = functools.cache(run)
"""What many tests compare with."""


def check_same(path: Path, output: np.ndarray) -> None:
    """That a file's output is this, but for sums in another order, and in fp16 for their rounding."""
    expected = ours(path)
    assert output.dtype == expected.dtype
    allowed = 1 if path.name == SERVED else 1e-2 if path.parent.name.endswith("fp16") else 1e-4
    np.testing.assert_allclose(output.astype(float), expected.astype(float), rtol=0, atol=allowed)


def graphsurgeon(source: Path, target: Path) -> None:
    graph = gs.import_onnx(onnx.load(source))
    onnx.save(gs.export_onnx(graph.cleanup().toposort()), target)


def graphsurgeon_folded(source: Path, target: Path) -> None:
    graph = gs.import_onnx(onnx.load(source))
    onnx.save(gs.export_onnx(graph.fold_constants().cleanup()), target)


def polygraphy(command: str, *options: str) -> Tool:
    def call(source: Path, target: Path) -> None:
        code = "import sys; from polygraphy.tools import main; sys.exit(main())"
        arguments = ["surgeon", command, str(source), "--output", str(target), *options]
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)

    return call


def polygraphy_extract(source: Path, target: Path) -> None:
    outputs = [f"{value.name}:auto" for value in onnx.load(source, load_external_data=False).graph.output]
    polygraphy("extract", "--outputs", *outputs)(source, target)


def slim(source: Path, target: Path) -> None:
    onnx.save(onnxslim.slim(str(source)), target)


_SIMPLIFY = """
import onnx, onnxsim, sys

for name in sys.argv[3:]:
    model, same = onnxsim.simplify(f"{sys.argv[1]}/{name}")
    assert same
    onnx.save(model, f"{sys.argv[2]}/{name}")
"""


@functools.cache
def simplified(artifact: Path) -> Path:
    """A folder of both files, made in one process, which takes seconds to start."""
    folder = Path(tempfile.mkdtemp())
    done = python_with(packages(ONNXSIM), "-c", _SIMPLIFY, artifact, folder, SAMPLER, SERVED)
    assert done.returncode == 0, done.stderr
    return folder


def simplify(source: Path, target: Path) -> None:
    shutil.copy(simplified(source.parent) / source.name, target)


def optimize(source: Path, target: Path) -> None:
    onnx.save(onnxoptimizer.optimize(onnx.load(source)), target)


def inline(source: Path, target: Path) -> None:
    onnx.save(onnx.inliner.inline_local_functions(onnx.load(source)), target)


def prefix(source: Path, target: Path) -> None:
    onnx.save(onnx.compose.add_prefix(onnx.load(source), "ours/"), target)


def extract(source: Path, target: Path) -> None:
    graph = onnx.load(source, load_external_data=False).graph
    names = [[value.name for value in values] for values in (graph.input, graph.output)]
    onnx.utils.extract_model(source, target, *names)


TOOLS: dict[str, Tool] = {
    "graphsurgeon": graphsurgeon,
    "graphsurgeon, constants folded": graphsurgeon_folded,
    "polygraphy surgeon sanitize": polygraphy("sanitize", "--cleanup", "--toposort", "--no-shape-inference"),
    "polygraphy surgeon extract": polygraphy_extract,
    "onnxslim": slim,
    "onnxsim": simplify,
    "onnxoptimizer": optimize,
    "onnx.inliner": inline,
    "onnx.compose.add_prefix": prefix,
    "onnx.utils.extract_model": extract,
}


@pytest.mark.parametrize("name", [SAMPLER, SERVED])
@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_tool_writes_computes_the_same(artifact: Path, tool: str, name: str, tmp_path: Path) -> None:
    TOOLS[tool](artifact / name, tmp_path / "written.onnx")
    check_same(artifact / name, run(tmp_path / "written.onnx"))


@pytest.mark.parametrize("artifact", ["fp16"], indirect=True)
def test_polygraphy_infers_shapes(artifact: Path, tmp_path: Path) -> None:
    """By ONNX Runtime's symbolic shape inference, node by node."""
    polygraphy("sanitize")(artifact / SERVED, tmp_path / "written.onnx")
    check_same(artifact / SERVED, run(tmp_path / "written.onnx"))


@pytest.mark.parametrize("name", [SAMPLER, SERVED])
def test_the_checker_passes(artifact: Path, name: str) -> None:
    onnx.checker.check_model(artifact / name, full_check=True)


@pytest.mark.parametrize("name", [SAMPLER, SERVED])
def test_the_reference_evaluator_computes_the_same(artifact: Path, name: str) -> None:
    model = onnx.load(artifact / name)
    shapes = {value.name: value.type.tensor_type.shape.dim[1:] for value in model.graph.input}
    inputs = feeds({name: [extent.dim_value for extent in shape] for name, shape in shapes.items()})
    (output,) = onnx.reference.ReferenceEvaluator(model).run(None, inputs)
    check_same(artifact / name, output)


def test_a_sampler_is_merged_with_another_model(artifact: Path) -> None:
    sampler = onnx.load(artifact / SAMPLER)
    head = f'<ir_version: {sampler.ir_version}, opset_import: ["" : 20]>'
    tail = onnx.parser.parse_model(f"{head} tail (float[n, c, h, w] x) => (float[n, c, h, w] y) {{ y = Neg (x) }}")
    merged = onnx.compose.merge_models(sampler, tail, [("x_0", "x")])
    check_same(artifact / SAMPLER, -run(merged))


@pytest.mark.parametrize("version", [19, 22])
@pytest.mark.parametrize("name", [SAMPLER, SERVED])
def test_the_version_converter_takes_a_graph_without_functions(artifact: Path, name: str, version: int) -> None:
    """It leaves out the functions, and what it writes with their calls no runtime loads."""
    model = onnx.load(artifact / name)
    with pytest.raises(Exception, match=r"ddgan:\w+\(-1\) is not a registered function/op"):
        run(onnx.version_converter.convert_version(model, version))
    inlined = onnx.inliner.inline_local_functions(model)
    check_same(artifact / name, run(onnx.version_converter.convert_version(inlined, version)))


@pytest.mark.parametrize("name", [SAMPLER, SERVED])
def test_plain_openvino_says_what_it_lacks(artifact: Path, name: str) -> None:
    with pytest.raises(RuntimeError, match=r"No conversion rule found for operations: ddgan\.AdaGN, ddgan\.AdaGNSilu"):
        openvino.Core().read_model(artifact / name)


def test_plain_openvino_runs_a_sampler_that_is_inlined(artifact: Path, tmp_path: Path) -> None:
    inline(artifact / SAMPLER, tmp_path / SAMPLER)
    compiled = openvino.Core().compile_model(tmp_path / SAMPLER, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    extents = {value.any_name: list(value.partial_shape)[1:] for value in compiled.inputs}
    inputs = feeds({name: [extent.get_length() for extent in shape] for name, shape in extents.items()})
    check_same(artifact / SAMPLER, compiled(inputs)[0])
