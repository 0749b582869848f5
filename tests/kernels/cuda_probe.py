"""What the tests of the CUDA ops share: the C++ launcher with a fake driver, and what it should ask of the driver."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
from onnx import TensorProto, helper

from ddgan_deploy.kernels import ops
from ddgan_deploy.kernels.adagn import launches as adagn
from ddgan_deploy.kernels.adagn_grad import launches as adagn_grad
from ddgan_deploy.kernels.launch import ALIGNMENT, LINEAR, NCHW, Launch, OpLaunches, Plan, all_sizes, evaluate, launches
from ddgan_deploy.kernels.launch_index import launch_index
from ddgan_deploy.kernels.philox_normal import launches as philox_normal
from ddgan_deploy.kernels.reverse_step import launches as reverse_step
from ddgan_deploy.kernels.style_lrelu import launches as style_lrelu

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "kernels/native"
PROBES = ROOT / "tests/native"
SOURCES = [NATIVE / f"{name}.cc" for name in ("launches", "cuda_launcher", "cuda_driver")]
FLAGS = ["-std=c++20", "-g1", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
DTYPES = ("float32", "float16", "bfloat16")
GRID = (2**31 - 1, 65535, 65535)
"""The most blocks along x, y and z."""
POINTERS = 2**40
SHARED_DEFAULT = 48 * 1024
"""Bytes of shared memory that a kernel has without asking."""


@dataclass(frozen=True)
class Call:
    """One run of an op, on made-up pointers that no size is as large as; the first is off by ``offset`` bytes."""

    op: OpLaunches = field(repr=False)
    layout: str
    sizes: Mapping[str, int]
    dtype: str = "float32"
    stream: int = 0x70
    offset: int = 0

    @property
    def tensors(self) -> dict[str, int]:
        temporaries = {name for plan in self.op.plans for name in plan.temporaries}
        names = [name for name in self.op.tensors if name not in temporaries]
        return {name: POINTERS * (place + 1) + (0 if place else self.offset) for place, name in enumerate(names)}

    @property
    def line(self) -> str:
        sizes, tensors = (
            ",".join(f"{name}={value}" for name, value in values.items()) for values in (self.sizes, self.tensors)
        )
        return f"{self.op.op}/{self.layout}/{self.dtype} {self.stream} {sizes} {tensors}"


@dataclass
class Folder:
    """A folder of compiled kernels whose cubins only tell the kernels' parameters.

    Attributes:
        shared: shared memory of each file.
    """

    path: Path
    shared: dict[str, int] = field(default_factory=dict)

    def write(self, archs: Sequence[int], dtypes: Sequence[str] = DTYPES) -> Folder:
        tasks = [
            SimpleNamespace(op=op, plan=plan, launch=launch, dtype=dtype, arch=arch)
            for arch in archs
            for dtype in dtypes
            for op, plan, launch in launches(ops.all_launches())
        ]
        (self.path / "launches.txt").write_text(launch_index((task, self._compile(task)) for task in tasks))
        return self

    def _compile(self, task: Any) -> SimpleNamespace:
        file = self.file(task.plan, task.launch, task.dtype, task.arch)
        parameters = "".join("p" if name in task.op.tensors else "i" for name in task.launch.arguments) + "pp"
        (self.path / file).write_text(f"fake-cubin\n{task.launch.kernel} {parameters}\n")
        self.shared.setdefault(file, len(self.shared) * 7000 % 90000)
        return SimpleNamespace(file=file, symbol=task.launch.kernel, shared_bytes=self.shared[file])

    @staticmethod
    def file(plan: Plan, launch: Launch, dtype: str, arch: int) -> str:
        return f"{plan.kernel_name(launch)}.{dtype}.sm{arch}.cubin"


@dataclass(frozen=True)
class Probe:
    """The built programs."""

    folder: Path

    def __call__(self, kernels: Path, *lines: str, **environment: str) -> list[dict[str, Any]]:
        result = subprocess.run(
            [self.folder / "launch_probe", kernels],
            input="".join(line + "\n" for line in lines),
            capture_output=True,
            text=True,
            env={"LD_LIBRARY_PATH": str(self.folder / "driver"), **environment},
        )
        assert result.returncode == 0 and not result.stderr, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]


def build_probe(folder: Path) -> Probe:
    """The launcher alone, and the fake driver, with sanitizers."""
    compile_cc(folder / "driver/libcuda.so.1", *SANITIZE, "-shared", "-fPIC", PROBES / "fake_cuda.cc")
    compile_cc(folder / "launch_probe", *SANITIZE, f"-I{NATIVE}", PROBES / "launch_probe.cc", *SOURCES)
    return Probe(folder)


def compile_cc(out: Path, *arguments: str | Path) -> Path:
    out.parent.mkdir(exist_ok=True)
    subprocess.run(["g++", *FLAGS, *arguments, "-o", out], check=True)
    return out


def expected(folder: Folder, calls: Sequence[Call], arch: int = 80) -> Iterator[dict[str, Any]]:
    """What the driver and the allocator are asked for, by the Python plans; errors as {"error": part of the text}."""
    yield {"call": "cuInit", "context": 0}
    loaded: set[tuple[int, str]] = set()
    granted: set[tuple[int, int, str, str]] = set()
    pointer = 0x500000000000
    for call in calls:
        context = {"context": 0xC000 + call.stream % 16}
        yield {"call": "cuCtxPushCurrent", **context}
        try:
            plan = call.op.choose(call.layout, call.sizes, call.offset % ALIGNMENT == 0)
        except ValueError:
            yield {"call": "cuCtxPopCurrent", **context}
            yield {"error": f"{call.op.op} {call.layout} {call.dtype}: no compiled kernel serves"}
            continue
        sizes = all_sizes(plan, call.sizes)
        arguments = {**sizes, **call.tensors}
        for name, shape in plan.temporaries.items():
            elements = math.prod(evaluate(extent, sizes) for extent in shape)
            yield {"call": "allocate", "bytes": 4 * elements, "pointer": pointer}
            arguments[name] = pointer
            pointer += 4096
        error = None
        for launch in plan.launches:
            file = folder.file(plan, launch, call.dtype, arch)
            shared = folder.shared[file]
            if (context["context"], file) not in loaded:
                loaded.add((context["context"], file))
                yield {"call": "cuModuleLoadData", **context, "bytes": (folder.path / file).stat().st_size}
            # Plans may share a kernel; each asks for its shared memory.
            user = (context["context"], id(plan), launch.kernel, call.dtype)
            if user not in granted and shared > SHARED_DEFAULT:
                granted.add(user)
                attribute = {"symbol": launch.kernel, "attribute": 8, "value": shared}
                yield {"call": "cuFuncSetAttribute", **context, **attribute}
            grid = [evaluate(extent, sizes) for extent in launch.grid]
            if any(extent > most for extent, most in zip(grid, GRID, strict=True)):
                error = f"{launch.kernel} needs a grid of"
                break
            yield {
                "call": "cuLaunchKernel",
                **context,
                "symbol": launch.kernel,
                "grid": grid,
                "block": [32 * launch.warps, 1, 1],
                "shared": shared,
                "stream": call.stream,
                "values": [arguments[name] for name in launch.arguments] + [0, 0],
                "extra": 0,
            }
        yield {"call": "cuCtxPopCurrent", **context}
        if error:
            yield {"error": error}


def adagn_call(
    n: int,
    c: int,
    h: int,
    w: int,
    groups: int,
    rows: int = 1,
    layout: str = NCHW,
    activation: str = "silu",
    op: OpLaunches = adagn.LAUNCHES,
    **rest: Any,
) -> Call:
    return Call(op, layout, adagn.sizes((n, c, h, w), rows, groups, 1e-6, activation), **rest)


def adagn_grad_call(*shape: int, **rest: Any) -> Call:
    return adagn_call(*shape, op=adagn_grad.LAUNCHES, **rest)


def reverse_call(op: str, shape: Sequence[int], **rest: Any) -> Call:
    return Call({"step": reverse_step.STEP, "mean": reverse_step.MEAN}[op], LINEAR, reverse_step.sizes(shape), **rest)


def style_call(x: Sequence[int], noise: Sequence[int], alpha: float = 0.2, layout: str = NCHW, **rest: Any) -> Call:
    return Call(style_lrelu.LAUNCHES, layout, style_lrelu.sizes(x, noise, alpha), **rest)


def philox_call(n: int, number: int, shape: Sequence[int], **rest: Any) -> Call:
    return Call(philox_normal.LAUNCHES, LINEAR, philox_normal.sizes(n, shape, stream=number), **rest)


def philox_at_call(n: int, shape: Sequence[int], **rest: Any) -> Call:
    return Call(philox_normal.NORMAL_AT, LINEAR, philox_normal.sizes(n, shape), **rest)


def integer_call(n: int, number: int, shape: Sequence[int], below: int, **rest: Any) -> Call:
    return Call(philox_normal.INTEGER, LINEAR, philox_normal.sizes(n, shape, stream=number, below=below), **rest)


def compute_in(model: onnx.ModelProto, dtype: int) -> None:
    """Gives the node of a float32 model its tensors in a type that NumPy does not have."""
    (node,) = model.graph.node
    casts = [helper.make_node("Cast", [name], [f"{name}_cast"], to=dtype) for name in node.input]
    back = helper.make_node("Cast", [f"{node.output[0]}_cast"], [node.output[0]], to=TensorProto.FLOAT)
    node.input[:] = [f"{name}_cast" for name in node.input]
    node.output[:] = back.input
    nodes = [*casts, onnx.NodeProto.FromString(node.SerializeToString()), back]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
