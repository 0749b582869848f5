"""A family of one 1x1 convolution, to try the seam: FAMILY is what a registry names, GRAPHS what an export imports.

x_0 is tanh(gain * conv(x) + label / 8) at every step, from x_T; a picture that is to be enlarged is added to x_T.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from safetensors.torch import save_file
from torch import nn

from ddgan_deploy.export.graph.steps import SamplerBuilder
from ddgan_deploy.families.base import Checkpoint
from ddgan_deploy.files import sha256
from ddgan_deploy.sampler import LABEL_STREAM, Draw, Knob, Probe, Sampler

KEY, UPSAMPLER = "toy.weight", "toy.upsampler"
LABELS = 10


@dataclass(frozen=True)
class Model:
    size: int
    upsampler: bool


@dataclass(frozen=True)
class Sampling:
    steps: int


@dataclass(frozen=True)
class Reference:
    network: nn.Conv2d
    steps: int
    landmarks: tuple[type[nn.Module], ...] = (nn.Conv2d,)

    def run(self, inputs, step=None, state=None):
        if state is None:
            state = inputs["x_T"]
            if "low_res" in inputs:
                state = state + inputs["low_res"].repeat_interleave(2, 2).repeat_interleave(2, 3)
        for _ in range(self.steps) if step is None else (step,):
            gain, label = inputs["gain"][:, :, None, None], inputs["label"][:, :, None, None]
            state = torch.tanh(self.network(state) * gain + label / 8)
            yield state

    def modules(self):
        yield "conv", self.network

    def mapped(self, transform):
        return Reference(transform(self.network), self.steps)

    def half(self):
        return self


class ToyCheckpoint(Checkpoint[Model, Sampling]):
    def choose(self, steps=None):
        return Sampling(steps or 2)

    def assumed(self, sampling):
        return ()

    def reference(self, sampling):
        return reference(self.weights[KEY], sampling)


def reference(weight: torch.Tensor, sampling: Sampling) -> Reference:
    network = nn.Conv2d(3, 3, 1, bias=False)
    network.weight.data = weight
    return Reference(network.requires_grad_(False), sampling.steps)


class Toy:
    name, title, model, sampling, graphs = "toy", "a toy", Model, Sampling, "tests.families.toy"

    def claims(self, contents):
        return KEY in contents

    def read(self, contents, path, given):
        model = Model(16, True) if UPSAMPLER in contents else Model(8, False)
        return ToyCheckpoint(self, path, sha256(path), model, {KEY: contents[KEY]})

    def sampler(self, model, sampling):
        size, small = model.size, model.size // 2
        drawn = Draw("label", (1,), LABEL_STREAM, below=LABELS)
        knobs = [
            Knob("gain", "float32", (1,), 0, 10, 1.0, tried=(0.5, 3.0), swept=(0, 1, 2.5), help="of every step"),
            Knob("label", "int64", (1,), -1, LABELS - 1, -1, drawn, tried=(0, 7), swept=tuple(range(-1, LABELS))),
            *([Knob("low_res", "uint8", (small, small, 3), 0, 255)] if model.upsampler else []),
        ]
        return Sampler((3, size, size), sampling.steps, (Draw("x_T", (3, size, size), 0),), tuple(knobs))

    def probes(self, model, sampling):
        last = sampling.steps - 1
        inner = (Probe(f"step {k}", "x", f"step{k}/x", k, state=True, shown=True) for k in range(last))
        return (*inner, Probe(f"step {last}", "x_0", "x_0", last, series="x", shown=True))

    def facts(self, model, sampling):
        return {"Kind": "a toy"}

    def untrained(self, model, sampling):
        return reference(torch.eye(3)[:, :, None, None], sampling)


class ToyGraphs:
    rewrites = ()

    def build(self, reference, sampler, without=(), loop="auto"):
        to = SamplerBuilder(sampler, loop)
        weight = to.constant(KEY, reference.network.weight.numpy())
        shape = to.constant("shape", np.array([-1, 1, 1, 1]))
        gain = to.op("Reshape", [to.inputs["gain"], shape], name="gain/4d")
        label = to.op("Cast", [to.inputs["label"]], name="label/float", float32=True, to=ir.DataType.FLOAT)
        eighth = to.op("Mul", [label, to.constant("label/eighth", np.float32(1 / 8))], name="label/eighths")
        label = to.op("Reshape", [eighth, shape], name="label/4d")
        x = to.inputs["x_T"]
        if "low_res" in to.inputs:
            twice = np.repeat(np.eye(sampler.image[1] // 2, dtype=np.float32), 2, axis=0)
            rows = to.op(
                "MatMul", [to.constant("rows", twice), to.inputs["low_res"]], name="low_res/rows", float32=True
            )
            large = to.op("MatMul", [rows, to.constant("columns", twice.T)], name="low_res/large", float32=True)
            x = to.op("Add", [x, large], name="x_T/on_low_res", float32=True)

        def body(x, step):
            convolved = step.op("Conv", [x, weight], name="conv", shape=sampler.image, layer="conv")
            gained = step.op("Mul", [convolved, gain], name="gain")
            shifted = step.op("Add", [gained, label], name="label")
            return step.op("Tanh", [shifted], name="x", float32=True)

        return to.model(to.steps(x, body))


FAMILY, GRAPHS = Toy(), ToyGraphs()


def write_checkpoint(path, *others):
    """A checkpoint of the family, and with `UPSAMPLER` of one that takes a picture."""
    weight = torch.randn(3, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    save_file({KEY: weight, **{name: torch.zeros(1) for name in others}}, path)
    return path
