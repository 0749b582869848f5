"""Snapshots of FastGAN generators with random weights, and what the published layers make of them, written out."""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
import torch.nn.functional as F

from ddgan_deploy.families.fastgan import published
from ddgan_deploy.families.fastgan.config import FastganConfig
from ddgan_deploy.weight_files.objects import Saved

GOLDEN = Path(__file__).parents[3] / "data" / "stylegan2" / "dgan_fastgan"


def saved(state, **attributes):
    """A module tree that holds these parameters and buffers by their paths, with attributes of its root."""
    root = Saved("pg_modules.networks_fastgan.Generator", 0, _state())
    root.state.update(attributes)
    for path, value in state.items():
        *modules, name = path.split(".")
        at = root
        for module in modules:
            at = at.state["_modules"].setdefault(module, Saved("torch.nn.modules.module.Module", 0, _state()))
        at.state["_parameters"][name] = value
    return root


def _state():
    return {"_modules": {}, "_parameters": {}, "_buffers": {}}


def contents(config, state):
    """As a snapshot of this network is read."""
    sizes = {name: getattr(config, name) for name in ("z_dim", "c_dim", "img_resolution", "img_channels")}
    return {"G": saved({}), "G_ema": saved(state, **sizes), "progress": {}}


def write_snapshot(path, config, state):
    """A file of that, in the published form: a pickle of objects whose classes are only named."""
    names = {"pg_modules.networks_fastgan": "Generator", "torch.nn.modules.module": "Module"}
    kinds = {f"{home}.{name}": type(name, (), {"__module__": home}) for home, name in names.items()}
    homes = {home: SimpleNamespace(**{name: kinds[f"{home}.{name}"]}) for home, name in names.items()}

    def built(value):
        if isinstance(value, Saved):
            made = kinds[value.kind]()
            made.__dict__.update(built(value.state))
            return made
        return {name: built(inner) for name, inner in value.items()} if isinstance(value, dict) else value

    with mock.patch.dict(sys.modules, {"pg_modules": SimpleNamespace(), **homes}):
        Path(path).write_bytes(pickle.dumps(built(contents(config, state)), protocol=4))
    return path


def random_state(config, seed=0):
    """Published names -> weights, with all that a real snapshot has and no image depends on."""
    random = torch.Generator().manual_seed(seed)
    whole = replace(config, img_resolution=max(config.img_resolution, 256))
    found = {}
    for name, shape in {**published.needed(whole), **published.needed(config)}.items():
        weight = torch.randn(shape, generator=random)
        if name.endswith("_var"):
            weight = weight.abs() + 0.1
            if name.endswith("running_var"):
                found[name.removesuffix("running_var") + "num_batches_tracked"] = torch.tensor(7)
        elif name.endswith(("_mean", "bias", "noise.weight")) or shape == (1,):
            weight = weight * 0.3
        elif name.endswith(("weight_u", "weight_v")):
            weight = F.normalize(weight, dim=0)
        found[name] = weight
    for name in [name for name in found if name.endswith("weight_orig")]:
        _settle(found, name.removesuffix("_orig"), rows_at=int(name.startswith("synthesis.init")))
    return found


def _settle(state, name, rows_at):
    """u and v of some iterations, whose norm is near the true one, but not it."""
    matrix = state[f"{name}_orig"].movedim(rows_at, 0).flatten(1)
    for _ in range(3):
        state[f"{name}_v"] = F.normalize(matrix.t() @ state[f"{name}_u"], dim=0, eps=1e-12)
        state[f"{name}_u"] = F.normalize(matrix @ state[f"{name}_v"], dim=0, eps=1e-12)


def written_out(config, state, z, noises, label=None):
    """The published forward pass in evaluation mode, in float64: features after every block, and the image."""
    s = {name: tensor.double() for name, tensor in state.items()}
    noises = iter([noise.double() for noise in noises])
    z = z[:, 0].double()
    z = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
    x = F.conv_transpose2d(z[:, :, None, None], _normed(s, "synthesis.init.init.0", transposed=True))
    x = _glu(_batch_norm(s, "synthesis.init.init.1", x))
    y = None if label is None else s["synthesis.embed.weight"][label[:, 0]]
    features = {4: x}
    for r in (8, 16, 32, 64, 128, 256, 512, 1024):
        if r > config.img_resolution:
            break
        block = f"synthesis.feat_{r}"
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        if y is None and config.lite:
            x = _glu(_batch_norm(s, f"{block}.2", _conv(s, f"{block}.1", x)))
        elif y is None:
            for conv, noise, norm in ((1, 2, 3), (5, 6, 7)):
                x = _conv(s, f"{block}.{conv}", x) + s[f"{block}.{noise}.weight"] * next(noises)
                x = _glu(_batch_norm(s, f"{block}.{norm}", x))
        elif config.lite:
            x = _glu(_class_norm(s, f"{block}.bn", _conv(s, f"{block}.conv", x), y))
        else:
            for i in (1, 2):
                x = _conv(s, f"{block}.conv{i}", x) + s[f"{block}.noise.weight"] * next(noises)
                x = _glu(_class_norm(s, f"{block}.bn{i}", x, y))
        if r in (64, 128, 256, 512):
            gates = F.adaptive_avg_pool2d(features[{64: 4, 128: 8, 256: 16, 512: 32}[r]], 4)
            gates = F.silu(F.conv2d(gates, _normed(s, f"synthesis.se_{r}.main.1")))
            x = x * torch.sigmoid(F.conv2d(gates, _normed(s, f"synthesis.se_{r}.main.3")))
        features[r] = x
    image = F.conv2d(x, _normed(s, "synthesis.to_big"), s["synthesis.to_big.bias"], padding=1)
    return (*features.values(), image)


def _normed(s, name, transposed=False):
    weight = s[f"{name}.weight_orig"]
    matrix = (weight.transpose(0, 1) if transposed else weight).reshape(len(s[f"{name}.weight_u"]), -1)
    return weight / torch.dot(s[f"{name}.weight_u"], torch.mv(matrix, s[f"{name}.weight_v"]))


def _conv(s, name, x):
    return F.conv2d(x, _normed(s, name), padding=1)


def _batch_norm(s, name, x):
    mean, variance, weight, bias = (s[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, variance, weight, bias, eps=1e-5)


def _class_norm(s, name, x, y):
    gain, bias = (F.linear(y, _normed(s, f"{name}.{part}"), s[f"{name}.{part}.bias"]) for part in ("gain", "bias"))
    x = F.batch_norm(x, s[f"{name}.stored_mean"], s[f"{name}.stored_var"], eps=1e-5)
    return x * (1 + gain)[:, :, None, None] + bias[:, :, None, None]


def _glu(x):
    value, gate = x.chunk(2, dim=1)
    return value * torch.sigmoid(gate)


def published_shapes(name):
    """The names and shapes of a published size of the network."""
    found = json.loads((Path(__file__).parent / f"{name}.json").read_text())
    return {key: tuple(shape) for key, shape in found["keys"].items()}


NETWORKS = {
    "32": FastganConfig(32, 3, 8, 0, 4),
    "256": FastganConfig(256, 1, 8, 0, 4),
    "1024": FastganConfig(1024, 3, 8, 0, 8),
    "lite": FastganConfig(128, 3, 8, 0, 4, lite=True),
    "classes": FastganConfig(64, 3, 8, 5, 4, cond=True),
    "classes, lite": FastganConfig(128, 3, 8, 1000, 4, cond=True, lite=True),
    "labels without effect": FastganConfig(32, 4, 8, 10, 4),
}
