"""The TensorRT plugins, called by TensorRT's own plugin objects: run interpreted, and compiled to PTX."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ddgan_deploy.kernels.adagn import launches as adagn
from ddgan_deploy.kernels.adagn.spec import BY_ACTIVATION
from ddgan_deploy.kernels.adagn_grad import launches as adagn_grad
from ddgan_deploy.kernels.adagn_grad.spec import BY_ACTIVATION as GRAD_BY_ACTIVATION
from ddgan_deploy.kernels.launch import NCHW, NHWC
from ddgan_deploy.kernels.philox_normal.philox import integers, normal
from ddgan_deploy.kernels.philox_normal.spec import INTEGER, NORMAL_AT
from ddgan_deploy.kernels.philox_normal.spec import SPEC as PHILOX
from ddgan_deploy.kernels.reverse_step.spec import COUNT
from ddgan_deploy.kernels.style_lrelu.spec import SPEC as STYLE_LRELU
from tests.kernels import cases
from tests.kernels.trt_stub import Combination, Kernel, Node, Row, registered

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
    pytest.mark.skipif(
        not any(importlib.util.find_spec(name) for name in ("tensorrt", "tensorrt_bindings")),
        reason="needs TensorRT or its Python bindings",
    ),
]

ROOT = Path(__file__).parents[2]
BATCHES = [1, 2, 5]
DTYPES = {"FLOAT": torch.float32, "HALF": torch.float16, "INT64": torch.int64}
FORMATS = {
    "LINEAR": torch.contiguous_format,
    "HWC": torch.channels_last,
    "HWC8": torch.channels_last,
}
EPSILON = 1e-6

Shape = tuple[int, int, int, int]
"""Channels, height, width, groups."""

LINEAR32, LINEAR16 = ("FLOAT", "LINEAR"), ("HALF", "LINEAR")
LAST32, LAST16 = ("FLOAT", "HWC"), ("HALF", "HWC8")
INT64 = ("INT64", "LINEAR")
PARTIALS = ("FLOAT", "LINEAR")

FUSED: list[tuple[Shape, list[tuple[str, str]]]] = [
    # What an image may be, where one launch serves it
    ((128, 32, 32, 32), [LINEAR32, LINEAR16]),
    ((64, 16, 16, 16), [LINEAR32, LINEAR16, LAST32, LAST16]),
    # float16 channels-last would be padded to 16 channels
    ((12, 7, 5, 3), [LINEAR32, LINEAR16, LAST32]),
    ((8, 1, 1, 2), [LINEAR32, LINEAR16, LAST32, LAST16]),
    ((16, 3, 64, 4), [LINEAR32, LINEAR16, LAST32, LAST16]),
    ((40, 8, 8, 2), [LINEAR32, LINEAR16, LAST32, LAST16]),
]
SPLIT: list[tuple[Shape, int, list[tuple[str, str]]]] = [
    ((16, 48, 48, 4), 1, [LINEAR32, LINEAR16, LAST32, LAST16]),
    ((12, 35, 31, 3), 2, [LINEAR32, LINEAR16, LAST32]),
    ((6, 17, 16, 1), 5, [LINEAR32, LINEAR16, LAST32]),
    # More channels than a tile has
    ((80, 23, 23, 2), 1, [LINEAR32, LINEAR16, LAST32, LAST16]),
    # Long chunks
    ((1, 136, 128, 1), 1, [LINEAR32, LINEAR16, LAST32]),
]
GRAD_FUSED: list[tuple[Shape, list[tuple[str, str]]]] = [
    ((128, 32, 32, 32), [LINEAR32, LINEAR16]),
    ((64, 16, 16, 16), [LINEAR32, LINEAR16, LAST32, LAST16]),
]
GRAD_SPLIT: list[tuple[Shape, int, list[tuple[str, str]]]] = [
    ((16, 48, 48, 4), 1, [LINEAR32, LINEAR16, LAST32, LAST16]),
    ((12, 7, 5, 3), 5, [LINEAR32, LINEAR16, LAST32]),
    ((12, 17, 16, 3), 2, [LINEAR32, LINEAR16, LAST32]),
]
REVERSE_SHAPES = [shape[1:] for shape in cases.REVERSE_SHAPES]


@pytest.fixture(scope="module")
def trt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with registered(tmp_path_factory.mktemp("tensorrt")) as module:
        yield module


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins whose PTX tells what the interpreter shall run."""
    from ddgan_deploy.kernels import trt_launch

    def binary(op: Any, plan: Any, launch: Any, dtype: str) -> Any:
        told = {"folder": op.folder, "constexprs": dict(launch.constexprs)}
        return trt_launch.Binary(launch.kernel, json.dumps(told), 0)

    monkeypatch.setattr(trt_launch, "binary", binary)


def combination(tensors: str, image: tuple[str, str]) -> Combination:
    """A combination from its images' type and format.

    Args:
        tensors: a letter for each: i an image, t linear of the image's type, p partial statistics.
    """
    kinds = {"i": image, "t": (image[0], "LINEAR"), "p": PARTIALS}
    return tuple(kinds[letter] for letter in tensors)


def adagn_node(trt: Any, shape: Shape, batch: int, activation: str = "silu", rows: int | None = None) -> Node:
    channels, height, width, groups = shape
    style = ("float32", (rows or batch, channels))
    attributes = {"groups": groups, "epsilon": EPSILON}
    inputs = [("float32", (batch, channels, height, width)), style, style]
    return Node(trt, BY_ACTIVATION[activation].name, attributes, inputs, (1, 2) if rows else ())


def split_nodes(trt: Any, shape: Shape, batch: int, activation: str = "silu") -> tuple[Node, Node]:
    channels, height, width, groups = shape
    common = {"groups": groups, "chunk_pixels": adagn.chunk_pixels(height * width)}
    image, style = ("float32", (batch, channels, height, width)), ("float32", (batch, channels))
    stats = Node(trt, "AdaGNStats", common, [image])
    attributes = {**common, "epsilon": EPSILON}
    return stats, Node(
        trt, f"{BY_ACTIVATION[activation].name}Apply", attributes, [image, ("float32", stats.output[1]), style, style]
    )


def grad_node(trt: Any, shape: Shape, batch: int, activation: str = "silu") -> Node:
    channels, height, width, groups = shape
    image, style = ("float32", (batch, channels, height, width)), ("float32", (batch, channels))
    attributes = {"groups": groups, "epsilon": EPSILON}
    return Node(trt, GRAD_BY_ACTIVATION[activation].name, attributes, [image, image, style, style])


def split_grad_nodes(trt: Any, shape: Shape, batch: int, activation: str) -> tuple[Node, Node, Node]:
    channels, height, width, groups = shape
    name, (stats, _) = GRAD_BY_ACTIVATION[activation].name, split_nodes(trt, shape, batch)
    attributes = {"groups": groups, "epsilon": EPSILON, "chunk_pixels": adagn.chunk_pixels(height * width)}
    image, style = ("float32", (batch, channels, height, width)), ("float32", (batch, channels))
    partials = ("float32", stats.output[1])
    sums = Node(trt, f"{name}Sums", attributes, [image, image, partials, style, style])
    return stats, sums, Node(trt, f"{name}Apply", attributes, [image, image, partials, partials, style, style])


def reverse_node(trt: Any, op: str, shape: Sequence[int], batch: int) -> Node:
    images = [("float32", (batch, *shape))] * (3 if op == "step" else 2)
    inputs = [*images, ("float32", (COUNT,))]
    return Node(trt, cases.REVERSE_OPS[op].name, {}, inputs, fixed=(len(images),))


def style_node(trt: Any, shape: Sequence[int], batch: int, noise: str) -> Node:
    arrays = cases.style_inputs((batch, *shape), "float32", noise)
    fixed = (2, 3, 4) if noise != "each" else (3, 4)
    return Node(trt, "StyleLrelu", {"alpha": 0.2}, [("float32", array.shape) for array in arrays], fixed)


def philox_node(trt: Any, shape: Sequence[int], batch: int, stream: int) -> Node:
    return Node(trt, "PhiloxNormal", {"stream_number": stream, "shape": list(shape)}, [("int64", (batch, 1))])


def philox_at_node(trt: Any, shape: Sequence[int], batch: int) -> Node:
    return Node(trt, "PhiloxNormalAt", {"shape": list(shape)}, [("int64", (batch, 1)), ("int64", ())])


def integer_node(trt: Any, shape: Sequence[int], batch: int, stream: int, below: int) -> Node:
    attributes = {"stream_number": stream, "shape": list(shape), "below": below}
    return Node(trt, "PhiloxInteger", attributes, [("int64", (batch, 1))])


def run(node: Node, chosen: Combination, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """What the plugin's launch computes in the interpreter, with TensorRT's order of arguments."""
    kernel = node.kernel(chosen)
    prepared = [
        value.to(DTYPES[kind]).contiguous(memory_format=FORMATS[form])
        for value, (kind, form) in zip(inputs, chosen[:-1], strict=True)
    ]
    kind, form = chosen[-1]
    output = torch.full(node.output[1], -1 if kind == "INT64" else torch.nan, dtype=DTYPES[kind])
    output = output.contiguous(memory_format=FORMATS[form])
    told = json.loads(kernel.ptx)
    function = getattr(importlib.import_module(f"ddgan_deploy.kernels.{told['folder']}.tl_kernel"), kernel.symbol)
    function[kernel.grid](*prepared, *kernel.numbers, output, **told["constexprs"])
    return output


def adagn_inputs(shape: Shape, batch: int, dtype: str, rows: int | None = None) -> tuple[cases.AdaGNShape, list[Any]]:
    full = (batch, *shape)
    name = {"FLOAT": "float32", "HALF": "float16"}[dtype]
    return full, [torch.from_numpy(value) for value in cases.adagn_inputs(full, name, rows)]


def check_adagn(full: cases.AdaGNShape, inputs: list[torch.Tensor], activation: str, y: torch.Tensor) -> None:
    error, torch_error = cases.adagn_errors(full, [v.numpy() for v in inputs], activation, y.numpy())
    assert error <= cases.tolerance(torch_error, str(y.dtype).removeprefix("torch."))


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("shape", "images"), FUSED, ids=str)
def test_adagn(trt: Any, interpreted: None, shape: Shape, images: list[tuple[str, str]], batch: int) -> None:
    activation = ("silu", "none")[batch % 2]
    node = adagn_node(trt, shape, batch, activation)
    assert node.output == ("float", (batch, *shape[:3])) and node.symbolic == [True, False, False, False]
    assert node.combinations() == [combination("itti", image) for image in images]
    for each in node.combinations():
        full, inputs = adagn_inputs(shape, batch, each[0][0])
        check_adagn(full, inputs, activation, run(node, each, inputs))


def test_one_style_serves_the_whole_batch(trt: Any, interpreted: None) -> None:
    shape, batch = (12, 7, 5, 3), 5
    node = adagn_node(trt, shape, batch, rows=1)
    for each in node.combinations():
        full, inputs = adagn_inputs(shape, batch, each[0][0], rows=1)
        y = run(node, each, inputs)
        x, scale, shift = inputs
        check_adagn(full, [x, scale.expand(batch, -1), shift.expand(batch, -1)], "silu", y)


@pytest.mark.parametrize(("shape", "batch", "images"), SPLIT, ids=str)
def test_adagn_in_two(trt: Any, interpreted: None, shape: Shape, batch: int, images: list[tuple[str, str]]) -> None:
    """Statistics of each format, applied to each of the same type, as TensorRT may choose."""
    channels, height, width, groups = shape
    activation = ("silu", "none")[batch % 2]
    stats, apply = split_nodes(trt, shape, batch, activation)
    chunks = -(-height * width // adagn.chunk_pixels(height * width))
    assert chunks > 1
    assert stats.output == ("float", (batch, groups, chunks, 2)) and stats.symbolic == [True, False, False, False]
    assert apply.output == ("float", (batch, channels, height, width))
    assert stats.combinations() == [combination("ip", image) for image in images]
    assert apply.combinations() == [combination("iptti", image) for image in images]
    for first in stats.combinations():
        full, (x, scale, shift) = adagn_inputs(shape, batch, first[0][0])
        partials = run(stats, first, [x])
        for second in apply.combinations():
            if second[0][0] == first[0][0]:
                y = run(apply, second, [x, partials, scale, shift])
                check_adagn(full, [x, scale, shift], activation, y)


def grad_inputs(shape: Shape, batch: int, dtype: str) -> tuple[cases.AdaGNShape, list[Any]]:
    name = {"FLOAT": "float32", "HALF": "float16"}[dtype]
    return (batch, *shape), [torch.from_numpy(value) for value in cases.adagn_grad_inputs((batch, *shape), name, None)]


def check_grad(full: cases.AdaGNShape, inputs: list[torch.Tensor], activation: str, dx: torch.Tensor) -> None:
    error, torch_error = cases.adagn_grad_errors(full, [v.numpy() for v in inputs], activation, dx.numpy())
    assert error <= cases.tolerance(torch_error, str(dx.dtype).removeprefix("torch."))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("shape", "images"), GRAD_FUSED, ids=str)
def test_adagn_grad(trt: Any, interpreted: None, shape: Shape, images: list[tuple[str, str]], batch: int) -> None:
    activation = ("silu", "none")[batch % 2]
    node = grad_node(trt, shape, batch, activation)
    assert node.output == ("float", (batch, *shape[:3])) and node.symbolic == [True, False, False, False]
    assert node.combinations() == [combination("iitti", image) for image in images]
    for each in node.combinations():
        full, inputs = grad_inputs(shape, batch, each[0][0])
        check_grad(full, inputs, activation, run(node, each, inputs))


@pytest.mark.parametrize(("shape", "batch", "images"), GRAD_SPLIT, ids=str)
def test_adagn_grad_in_three(
    trt: Any, interpreted: None, shape: Shape, batch: int, images: list[tuple[str, str]]
) -> None:
    """Statistics in linear memory serve sums of every format of the type, and these what applies them in another."""
    activation = ("silu", "none")[batch % 2]
    stats, sums, apply = split_grad_nodes(trt, shape, batch, activation)
    assert sums.output == stats.output and sums.symbolic == [True, False, False, False]
    assert apply.output == ("float", (batch, *shape[:3]))
    assert sums.combinations() == [combination("iipttp", image) for image in images]
    assert apply.combinations() == [combination("iipptti", image) for image in images]
    for first in stats.combinations()[:2]:
        kind = first[0][0]
        full, (dy, x, scale, shift) = grad_inputs(shape, batch, kind)
        partials = run(stats, first, [x])
        same = [image for image in images if image[0] == kind]
        for one, other in zip(same, same[::-1], strict=True):
            summed = run(sums, combination("iipttp", one), [dy, x, partials, scale, shift])
            dx = run(apply, combination("iipptti", other), [dy, x, partials, summed, scale, shift])
            check_grad(full, [dy, x, scale, shift], activation, dx)


@pytest.mark.parametrize("op", cases.REVERSE_OPS)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("shape", REVERSE_SHAPES, ids=str)
def test_reverse_step(trt: Any, interpreted: None, shape: tuple[int, ...], batch: int, op: str) -> None:
    node = reverse_node(trt, op, shape, batch)
    assert node.output == ("float", (batch, *shape)) and node.symbolic == [True, False, False, False]
    rest = 1 if op == "mean" else 2
    assert node.combinations() == [
        (LINEAR32,) * (rest + 3),
        (LINEAR16, *(LINEAR32,) * (rest + 2)),
        (*(LAST32,) * (rest + 1), LINEAR32, LAST32),
    ]
    for each in node.combinations():
        inputs = cases.reverse_inputs(op, (batch, *shape), {"FLOAT": "float32", "HALF": "float16"}[each[0][0]])
        x_prev = run(node, each, [torch.from_numpy(value) for value in inputs])
        np.testing.assert_allclose(x_prev.numpy(), cases.reverse_expected(inputs), rtol=0, atol=2e-6)


@pytest.mark.parametrize("noise", cases.STYLE_NOISES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("shape", [(64, 16, 16), (12, 7, 3), (3, 1, 1)], ids=str)
def test_style_lrelu(trt: Any, interpreted: None, shape: tuple[int, ...], batch: int, noise: str) -> None:
    node = style_node(trt, shape, batch, noise)
    assert node.output == ("float", (batch, *shape)) and node.symbolic == [True, False, False, False]
    images = [LINEAR32, LINEAR16, LAST32, *([LAST16] if shape[0] % 8 == 0 else [])]
    assert node.combinations() == [(image, *(LINEAR32,) * 4, image) for image in images]
    for each in node.combinations():
        inputs = cases.style_inputs((batch, *shape), {"FLOAT": "float32", "HALF": "float16"}[each[0][0]], noise)
        y = run(node, each, [torch.from_numpy(value) for value in inputs])
        np.testing.assert_allclose(y.numpy(), cases.style_expected(inputs), rtol=2**-10, atol=2e-6)


@pytest.mark.parametrize("stream", [0, 2**32 - 1])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("shape", cases.PHILOX_SHAPES, ids=str)
def test_philox_normal(trt: Any, interpreted: None, shape: tuple[int, ...], batch: int, stream: int) -> None:
    node = philox_node(trt, shape, batch, stream)
    assert node.output == ("float", (batch, *shape)) and node.symbolic == [True, *[False] * len(shape)]
    assert node.combinations() == [(("INT64", "LINEAR"), LINEAR32)]
    seeds = cases.PHILOX_SEEDS[:batch]
    noise = run(node, node.combinations()[0], [torch.from_numpy(seeds)[:, None]])
    expected = normal(seeds, stream, shape)
    assert noise.shape == expected.shape
    assert torch.allclose(noise, torch.from_numpy(expected), rtol=2 * cases.PHILOX_ULP * 2**-24, atol=1e-30)


@pytest.mark.parametrize("batch", BATCHES)
def test_philox_normal_at(trt: Any, interpreted: None, batch: int) -> None:
    shape, stream = (5, 1, 3), 2**32 - 1
    node = philox_at_node(trt, shape, batch)
    assert node.output == ("float", (batch, *shape)) and node.symbolic == [True, False, False, False]
    assert node.combinations() == [(INT64, INT64, LINEAR32)]
    seeds = torch.from_numpy(cases.PHILOX_SEEDS[:batch])[:, None]
    noise = run(node, node.combinations()[0], [seeds, torch.tensor(stream)])
    same = philox_node(trt, shape, batch, stream)
    assert torch.equal(noise, run(same, same.combinations()[0], [seeds]))


@pytest.mark.parametrize("below", cases.PHILOX_BELOW)
@pytest.mark.parametrize("batch", BATCHES)
def test_philox_integer(trt: Any, interpreted: None, batch: int, below: int) -> None:
    shape, stream = (5, 1, 3), 2**32 - 1
    node = integer_node(trt, shape, batch, stream, below)
    assert node.output == ("int64", (batch, *shape)) and node.symbolic == [True, False, False, False]
    assert node.combinations() == [(INT64, INT64)]
    seeds = cases.PHILOX_SEEDS[:batch]
    values = run(node, node.combinations()[0], [torch.from_numpy(seeds)[:, None]])
    np.testing.assert_array_equal(values.numpy(), integers(seeds, stream, shape, below))


def test_attributes_are_those_of_the_ops(trt: Any) -> None:
    nodes = [
        *((spec, adagn_node(trt, FUSED[0][0], 1, activation)) for activation, spec in BY_ACTIVATION.items()),
        *((spec, grad_node(trt, FUSED[0][0], 1, activation)) for activation, spec in GRAD_BY_ACTIVATION.items()),
        *((cases.REVERSE_OPS[op], reverse_node(trt, op, (3, 4, 4), 1)) for op in cases.REVERSE_OPS),
        (STYLE_LRELU, style_node(trt, (3, 4, 4), 1, "one")),
        (PHILOX, philox_node(trt, (3,), 1, 0)),
        (NORMAL_AT, philox_at_node(trt, (3,), 1)),
        (INTEGER, integer_node(trt, (3,), 1, 0, 10)),
    ]
    # TensorRT refuses the name that PhiloxNormal has for its own.
    renamed = {"stream": "stream_number"}
    for spec, node in nodes:
        assert node.attribute_names == [renamed.get(name, name) for name in spec.attributes]


def test_registering_again_changes_nothing(trt: Any) -> None:
    from ddgan_deploy.kernels import trt_launch

    trt_launch.register_plugins()


def test_which_images_take_one_launch() -> None:
    for (channels, height, width, groups), images in FUSED:
        assert adagn.single_launch(NCHW, channels, height * width, groups)
        assert adagn.single_launch(NHWC, channels, height * width, groups) == (LAST32 in images)
    for (channels, height, width, groups), images in GRAD_FUSED:
        assert adagn_grad.single_launch(NCHW, channels, height * width, groups)
        assert adagn_grad.single_launch(NHWC, channels, height * width, groups) == (LAST32 in images)
    assert not adagn.single_launch(NCHW, 64, 128 * 128, 16)
    # Where there is no kernel at all.
    assert not adagn.single_launch(NCHW, 64, 2**40, 16)


def test_an_image_that_takes_two_launches_is_refused(trt: Any, interpreted: None) -> None:
    with pytest.raises(ValueError, match="64 channels in 16 groups of 128x128 pixels take two launches: make the node"):
        adagn_node(trt, (64, 128, 128, 16), 1).combinations()
    with pytest.raises(ValueError, match="AdaGNGrad: 64 channels in 16 groups of 128x128 pixels take three launches"):
        grad_node(trt, (64, 128, 128, 16), 1).combinations()


def test_chunks_of_another_length_are_refused(trt: Any, interpreted: None) -> None:
    node = Node(trt, "AdaGNStats", {"groups": 4, "chunk_pixels": 512}, [("float32", (1, 16, 48, 48))])
    with pytest.raises(ValueError, match="chunk_pixels is 512, for 2304 pixels it must be 256"):
        node.kernel(node.combinations()[0])


def test_styles_of_different_row_counts_are_refused(trt: Any, interpreted: None) -> None:
    attributes = {"groups": 4, "epsilon": EPSILON}
    inputs = [("float32", (2, 16, 8, 8)), ("float32", (1, 16)), ("float32", (2, 16))]
    node = Node(trt, "AdaGNSilu", attributes, inputs, fixed=(1,))
    with pytest.raises(ValueError, match="scale has 1 rows and shift -1"):
        node.kernel(node.combinations()[0])


def test_a_plugin_needs_a_target(trt: Any) -> None:
    node = philox_node(trt, (3,), 1, 0)
    with pytest.raises(RuntimeError, match=r"build the engine inside trt_launch.target\(arch\)"):
        node.kernel(node.combinations()[0])


def test_scratch_memory_that_is_used_is_refused(trt: Any) -> None:
    from ddgan_deploy.kernels.trt_launch import strip_scratch

    ptx = ".entry k(\n\t.param .u64 k_param_0,\n\t.param .u64 k_param_1,\n\t.param .u64 k_param_10\n)\n{ [k_param_0] }"
    assert strip_scratch(ptx, "k", 1) == ".entry k(\n\t.param .u64 k_param_0\n)\n{ [k_param_0] }"
    for wrong in (ptx.replace("[k_param_0]", "[k_param_10]"), ptx.replace(".entry k", ".entry q")):
        with pytest.raises(RuntimeError, match="2 unused ones expected"):
            strip_scratch(wrong, "k", 1)
    with pytest.raises(RuntimeError, match="3 parameters, 2 and 2 unused ones expected"):
        strip_scratch(ptx, "k", 2)


def _rows(trt: Any) -> list[Row]:
    """Each plugin in each combination for one GPU, and in one for the others."""
    image, style = ["float32", [1, 16, 48, 48]], ["float32", [1, 16]]
    common = {"groups": 4, "chunk_pixels": 256}
    rest = {"epsilon": EPSILON}
    nodes = [
        ("AdaGNSilu", {"groups": 4, **rest}, [["float32", [1, 16, 16, 16]], style, style], 4),
        ("AdaGN", {"groups": 3, **rest}, [["float32", [1, 12, 7, 5]], *[["float32", [1, 12]]] * 2], 3),
        ("AdaGNStats", common, [image], 4),
        ("AdaGNSiluApply", {**common, **rest}, [image, ["float32", [1, 4, 9, 2]], style, style], 4),
        ("ReverseStep", {}, [*[["float32", [1, 3, 32, 32]]] * 3, ["float32", [COUNT]]], 3),
        ("ReverseMean", {}, [*[["float32", [1, 3, 32, 32]]] * 2, ["float32", [COUNT]]], 3),
        (
            "StyleLrelu",
            {"alpha": 0.2},
            [*(["float32", size] for size in ([1, 16, 8, 8], [1, 16], [1, 1, 8, 8], [16], [1]))],
            4,
        ),
        ("PhiloxNormal", {"stream_number": 2, "shape": [3, 32, 32]}, [["int64", [1, 1]]], 1),
        ("PhiloxNormalAt", {"shape": [3, 32, 32]}, [["int64", [1, 1]], ["int64", []]], 1),
        ("PhiloxInteger", {"stream_number": 2, "shape": [3], "below": 10}, [["int64", [1, 1]]], 1),
    ]
    partials = ["float32", [1, 4, 9, 2]]
    # Channels-last and narrow: what differs between the others, AdaGN's own rows have.
    gradients = [
        ("AdaGNGrad", {"groups": 4, **rest}, [*[["float32", [1, 16, 16, 16]]] * 2, style, style]),
        ("AdaGNSiluGradSums", {**common, **rest}, [image, image, partials, style, style]),
        ("AdaGNSiluGradApply", {**common, **rest}, [image, image, partials, partials, style, style]),
    ]
    rows = [
        Row(name, attributes, inputs, number, 80)
        for name, attributes, inputs, count in nodes
        for number in range(count)
    ]
    # The last is channels-last or narrow, where there is one.
    others = ((*node, arch) for node in nodes for arch in (75, 90, 120))
    rows += [Row(name, attributes, inputs, count - 1, arch) for name, attributes, inputs, count, arch in others]
    return rows + [Row(*node, 3, 90) for node in gradients]


@pytest.fixture(scope="module")
def compiled(trt: Any) -> list[tuple[Row, Kernel]]:
    rows = _rows(trt)
    # Not interpreted, as this process is.
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.trt_stub"],
        input=json.dumps([asdict(row) for row in rows]),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return [(row, Kernel(**kernel)) for row, kernel in zip(rows, told, strict=True)]


def test_ptx_takes_what_tensorrt_passes(compiled: list[tuple[Row, Kernel]]) -> None:
    for row, kernel in compiled:
        (entry,) = re.findall(rf"\.entry {kernel.symbol}\(([^)]*)\)", kernel.ptx)
        kinds = re.findall(r"\.param \.(\w+)", entry)
        assert kinds == ["u64"] * len(row.inputs) + ["u32"] * len(kernel.numbers) + ["u64"], row
        assert all(-(2**31) <= number < 2**31 for number in kernel.numbers)


def test_blocks_and_shared_memory_are_those_of_the_ptx(compiled: list[tuple[Row, Kernel]]) -> None:
    for row, kernel in compiled:
        (threads,) = re.findall(r"\.reqntid (\d+)", kernel.ptx)
        assert kernel.block == [int(threads), 1, 1], row
        assert kernel.shared <= 48 * 1024
        assert ("global_smem" in kernel.ptx) == (kernel.shared > 0), row


def test_ptx_assembles(compiled: list[tuple[Row, Kernel]], tmp_path: Path) -> None:
    from triton.backends.nvidia.compiler import get_ptxas

    targets = set()
    for row, kernel in compiled:
        (target,) = re.findall(r"\.target (sm_\w+)", kernel.ptx)
        targets.add(target)
        # Drivers of CUDA 12 take 8.x, of which Blackwell needs the later ones.
        (version,) = re.findall(r"\.version (\d\.\d)", kernel.ptx)
        assert version == ("8.7" if row.arch == 120 else "8.0"), row
        (tmp_path / "kernel.ptx").write_text(kernel.ptx)
        command = [get_ptxas(row.arch).path, f"--gpu-name={target}", tmp_path / "kernel.ptx", "-o", tmp_path / "cubin"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{row}: {done.stderr}"
    assert {target.rstrip("a") for target in targets} == {"sm_75", "sm_80", "sm_90", "sm_120"}
