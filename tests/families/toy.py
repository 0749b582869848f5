"""A family of one 1x1 convolution, to try the seam: FAMILY is what a registry names, GRAPHS what an export imports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ddgan_deploy.export.graph.builder import SamplerBuilder
from ddgan_deploy.families.base import Checkpoint
from ddgan_deploy.files import sha256
from ddgan_deploy.sampler import Draw, Knob, Probe, Sampler

KEY = "toy.weight"


@dataclass(frozen=True)
class Model:
    size: int


@dataclass(frozen=True)
class Sampling:
    steps: int


@dataclass(frozen=True)
class Reference:
    network: nn.Conv2d
    steps: int
    landmarks: tuple[type[nn.Module], ...] = (nn.Conv2d,)

    def run(self, inputs, step=None, state=None):
        x = inputs["x_T"] if state is None else state
        for _ in range(self.steps) if step is None else (step,):
            x = torch.tanh(self.network(x) * inputs["gain"][:, :, None, None])
            yield x

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
        return ToyCheckpoint(self, path, sha256(path), Model(8), {KEY: contents[KEY]})

    def sampler(self, model, sampling):
        gain = Knob("gain", "float32", (1,), 0, 10, default=1.0, tried=(0.5, 3.0), help="of every step")
        return Sampler(
            (3, model.size, model.size), sampling.steps, (Draw("x_T", (3, model.size, model.size), 0),), (gain,)
        )

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

    def build(self, reference, sampler, without=()):
        to = SamplerBuilder(sampler)
        weight = to.constant(KEY, reference.network.weight.numpy())
        gain = to.op("Reshape", [to.inputs["gain"], to.constant("gain/shape", np.array([-1, 1, 1, 1]))], name="gain/4d")
        x = to.inputs["x_T"]
        for k in range(sampler.steps):
            convolved = to.op("Conv", [x, weight], name=f"step{k}/conv", shape=sampler.image, layer="conv")
            gained = to.op("Mul", [convolved, gain], name=f"step{k}/gain")
            x = to.op("Tanh", [gained], name=f"step{k}/x" if k < sampler.steps - 1 else "x_0", float32=True)
        return to.model(x)


FAMILY, GRAPHS = Toy(), ToyGraphs()
