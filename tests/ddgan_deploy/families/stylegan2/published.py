"""StyleGAN2 stated naively, as its paper and its published code have it, and snapshots of it in their published form.

Weights are modulated for each sample, images are filled with zeros and filtered pixel by pixel: nothing here is shared
with the network under test but the names of the weights.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import types
from dataclasses import dataclass, field
from math import log2, sqrt

import torch
import torch.nn.functional as F

TEXT = "# the text of a module\n"


@dataclass(frozen=True)
class Made:
    """How a generator is made, and its weights under their published names."""

    z_dim: int = 12
    w_dim: int = 10
    c_dim: int = 0
    size: int = 16
    colours: int = 3
    channels: tuple[int, ...] = (12, 10, 8)
    widths: tuple[int, ...] = (10, 10)
    lr: float = 0.01
    architecture: str = "skip"
    activation: str = "lrelu"
    mapping_activation: str = "lrelu"
    taps: tuple[float, ...] = (1, 3, 3, 1)
    use_noise: bool = True
    clamp: float | None = None
    half_from: int = 0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)


GAIN = {"lrelu": sqrt(2), "relu": sqrt(2), "linear": 1.0}


def made(seed: int = 0, **options) -> Made:
    """With random weights; biases, means and noise are not zero, so that each counts."""
    it = Made(**options)
    assert 4 << (len(it.channels) - 1) == it.size
    random = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=random)  # noqa: E731
    taps = torch.outer(torch.tensor(it.taps), torch.tensor(it.taps))
    taps = taps / taps.sum()
    w = it.weights
    w["mapping.w_avg"] = draw(it.w_dim)
    width = it.z_dim
    if it.c_dim:
        w["mapping.embed.weight"], w["mapping.embed.bias"] = draw(it.w_dim, it.c_dim), draw(it.w_dim)
        width += it.w_dim
    for i, outputs in enumerate(it.widths):
        w[f"mapping.fc{i}.weight"], w[f"mapping.fc{i}.bias"] = draw(outputs, width) / it.lr, draw(outputs) / it.lr / 4
        width = outputs
    inputs = 0
    for i, outputs in enumerate(it.channels):
        size, block = 4 << i, f"synthesis.b{4 << i}"
        w[f"{block}.resample_filter"] = taps.clone()
        if not inputs:
            w[f"{block}.const"] = draw(outputs, 4, 4)
        for name, wide in ([("conv0", inputs)] if inputs else []) + [("conv1", outputs)]:
            layer = f"{block}.{name}"
            w[f"{layer}.weight"], w[f"{layer}.bias"] = draw(outputs, wide, 3, 3), draw(outputs) / 4
            w[f"{layer}.affine.weight"], w[f"{layer}.affine.bias"] = draw(wide, it.w_dim), 1 + draw(wide) / 4
            w[f"{layer}.resample_filter"] = taps.clone()
            if it.use_noise:
                w[f"{layer}.noise_const"], w[f"{layer}.noise_strength"] = draw(size, size), draw()
        if it.architecture == "skip" or size == it.size:
            layer = f"{block}.torgb"
            w[f"{layer}.weight"], w[f"{layer}.bias"] = draw(it.colours, outputs, 1, 1), draw(it.colours)
            w[f"{layer}.affine.weight"], w[f"{layer}.affine.bias"] = draw(outputs, it.w_dim), 1 + draw(outputs) / 4
        if it.architecture == "resnet" and inputs:
            w[f"{block}.skip.weight"], w[f"{block}.skip.resample_filter"] = draw(outputs, inputs, 1, 1), taps.clone()
        inputs = outputs
    return it


def drawn(it: Made, z, label=None, psi=1.0, cutoff=None, noise="const", noises=()):
    """w [N, w_dim] and the image [N, C, H, W] in float64; noises are those of the layers in the order of use."""
    w = {name: value.double() for name, value in it.weights.items()}
    left = iter([value.double() for value in noises])
    x = z.double() / z.double().square().mean(1, keepdim=True).add(1e-8).sqrt()
    if it.c_dim:
        y = F.one_hot(label, it.c_dim).double() @ w["mapping.embed.weight"].t() / sqrt(it.c_dim)
        y = y + w["mapping.embed.bias"]
        x = torch.cat([x, y / y.square().mean(1, keepdim=True).add(1e-8).sqrt()], 1)
    for i in range(len(it.widths)):
        weight = w[f"mapping.fc{i}.weight"] * it.lr / sqrt(x.shape[1])
        x = _act(x @ weight.t() + w[f"mapping.fc{i}.bias"] * it.lr, it.mapping_activation)
    latent, count = x, 2 * int(log2(it.size)) - 2
    ws = latent[:, None].repeat(1, count, 1)
    cut = count if cutoff is None else cutoff
    ws[:, :cut] = w["mapping.w_avg"] + psi * (ws[:, :cut] - w["mapping.w_avg"])
    x = image = None
    index = 0
    for i, _ in enumerate(it.channels):
        block = f"synthesis.b{4 << i}"

        def layer(x, name, up, gain=1.0, block=block):
            nonlocal index
            path = f"{block}.{name}"
            style = ws[:, index] @ w[f"{path}.affine.weight"].t() / sqrt(it.w_dim) + w[f"{path}.affine.bias"]
            index += 1
            y = _modulated(x, w[f"{path}.weight"], style, w[f"{path}.resample_filter"] if up else None, True)
            if it.use_noise and noise != "none":
                picture = w[f"{path}.noise_const"] if noise == "const" else next(left)
                y = y + picture * w[f"{path}.noise_strength"]
            y = _act(y + w[f"{path}.bias"][:, None, None], it.activation) * gain
            return y if it.clamp is None else y.clamp(-it.clamp * gain, it.clamp * gain)

        if x is None:
            x = layer(w[f"{block}.const"].repeat(len(z), 1, 1, 1), "conv1", False)
        elif it.architecture == "resnet":
            skip = F.conv2d(x, w[f"{block}.skip.weight"] / sqrt(x.shape[1]))
            skip = _doubled(skip, w[f"{block}.skip.resample_filter"]) * sqrt(0.5)
            x = skip + layer(layer(x, "conv0", True), "conv1", False, sqrt(0.5))
        else:
            x = layer(layer(x, "conv0", True), "conv1", False)
        if image is not None:
            image = _doubled(image, w[f"{block}.resample_filter"])
        path = f"{block}.torgb"
        if f"{path}.weight" in w:
            style = ws[:, index] @ w[f"{path}.affine.weight"].t() / sqrt(it.w_dim) + w[f"{path}.affine.bias"]
            y = _modulated(x, w[f"{path}.weight"], style / sqrt(x.shape[1]), None, False)
            y = y + w[f"{path}.bias"][:, None, None]
            y = y if it.clamp is None else y.clamp(-it.clamp, it.clamp)
            image = y if image is None else image + y
    return latent, image


def _act(x, name):
    return {"lrelu": lambda: F.leaky_relu(x, 0.2), "relu": x.relu, "linear": lambda: x}[name]() * GAIN[name]


def _modulated(x, weight, style, taps, demodulate):
    """Each sample by weights of its own."""
    samples = []
    for one, s in zip(x, style, strict=True):
        own = weight * s[None, :, None, None]
        if demodulate:
            own = own / own.square().sum((1, 2, 3), keepdim=True).add(1e-8).sqrt()
        if taps is None:
            y = F.conv2d(one[None], own, padding=own.shape[-1] // 2)
        else:
            # A zero after each pixel, a true convolution, and the filter, four times as strong.
            y = _filtered(F.conv2d(_spread(one[None]), own.flip(2, 3), padding=2), taps, len(taps) // 2 - 1)
        samples.append(y)
    return torch.cat(samples)


def _spread(x):
    n, c, h, w = x.shape
    spread = x.new_zeros(n, c, 2 * h - 1, 2 * w - 1)
    spread[:, :, ::2, ::2] = x
    return spread


def _filtered(x, taps, pad):
    channels = x.shape[1]
    kernel = taps.flip(0, 1).repeat(channels, 1, 1, 1) * 4
    return F.conv2d(F.pad(x, (pad,) * 4), kernel, groups=channels)


def _doubled(x, taps):
    n, c, h, w = x.shape
    spread = x.new_zeros(n, c, 2 * h, 2 * w)
    spread[:, :, ::2, ::2] = x
    before, after = (len(taps) + 1) // 2, (len(taps) - 2) // 2
    kernel = taps.flip(0, 1).repeat(c, 1, 1, 1) * 4
    return F.conv2d(F.pad(spread, (before, after, before, after)), kernel, groups=c)


class Persistent:
    """Is pickled as an object of the published ``torch_utils.persistence``."""

    def __init__(self, class_name, text=TEXT, **state):
        self.meta = {
            "type": "class",
            "version": 6,
            "module_src": text,
            "class_name": class_name,
            "state": state,
        }

    @property
    def state(self):
        return self.meta["state"]

    def __reduce__(self):
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


def tree(it: Made, text: str = TEXT) -> Persistent:
    """The generator as the module tree that a snapshot has."""

    def module(kind, path, children=(), **state):
        depth = path.count(".") + 1 if path else 0
        own = {
            name.rpartition(".")[2]: value
            for name, value in it.weights.items()
            if name.startswith(f"{path}.") and name.count(".") == depth
        }
        buffers = {k: v for k, v in own.items() if k in ("w_avg", "resample_filter", "noise_const")}
        parameters = {k: torch.nn.Parameter(v) for k, v in own.items() if k not in buffers}
        inside = {"_parameters": parameters, "_buffers": buffers, "_modules": dict(children), "training": False}
        return Persistent(kind, text, **inside, **state)

    def dense(path, inputs, lr=1.0, activation="linear"):
        return module("FullyConnectedLayer", path, activation=activation, weight_gain=lr / sqrt(inputs), bias_gain=lr)

    wide = it.z_dim + (it.w_dim if it.c_dim else 0)
    fully = {}
    if it.c_dim:
        fully["embed"] = dense("mapping.embed", it.c_dim)
    for i, (inputs, _) in enumerate(zip((wide, *it.widths), it.widths, strict=False)):
        fully[f"fc{i}"] = dense(f"mapping.fc{i}", inputs, it.lr, it.mapping_activation)
    mapping = module("MappingNetwork", "mapping", fully, num_layers=len(it.widths), z_dim=it.z_dim, c_dim=it.c_dim)
    blocks, inputs = {}, 0
    for i, outputs in enumerate(it.channels):
        size, block, parts = 4 << i, f"synthesis.b{4 << i}", {}
        for name, _ in ([("conv0", inputs)] if inputs else []) + [("conv1", outputs)]:
            path = f"{block}.{name}"
            parts[name] = module(
                "SynthesisLayer",
                path,
                {"affine": dense(f"{path}.affine", it.w_dim)},
                resolution=size,
                up=2 if name == "conv0" else 1,
                use_noise=it.use_noise,
                activation=it.activation,
                conv_clamp=it.clamp,
                act_gain=GAIN[it.activation],
            )
        if f"{block}.torgb.weight" in it.weights:
            affine = {"affine": dense(f"{block}.torgb.affine", it.w_dim)}
            gain = 1 / sqrt(outputs)
            parts["torgb"] = module("ToRGBLayer", f"{block}.torgb", affine, conv_clamp=it.clamp, weight_gain=gain)
        if f"{block}.skip.weight" in it.weights:
            gain = 1 / sqrt(inputs)
            parts["skip"] = module("Conv2dLayer", f"{block}.skip", activation="linear", weight_gain=gain, act_gain=1.0)
        blocks[f"b{size}"] = module(
            "SynthesisBlock",
            block,
            parts,
            architecture=it.architecture,
            use_fp16=bool(it.half_from) and size >= it.half_from,
        )
        inputs = outputs
    synthesis = module("SynthesisNetwork", "synthesis", blocks)
    return module(
        "Generator",
        "",
        {"synthesis": synthesis, "mapping": mapping},
        z_dim=it.z_dim,
        c_dim=it.c_dim,
        w_dim=it.w_dim,
        img_resolution=it.size,
        img_channels=it.colours,
    )


def write(path, contents, protocol=4):
    """A snapshot, pickled as by the published code."""
    with _published_module(), path.open("wb") as file:
        pickle.dump(contents, file, protocol=protocol)
    return path


@contextlib.contextmanager
def _published_module():
    module = types.ModuleType("torch_utils.persistence")
    exec("def _reconstruct_persistent_obj(meta): raise AssertionError('it was called')", module.__dict__)
    module._reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    sys.modules["torch_utils"], sys.modules["torch_utils.persistence"] = types.ModuleType("torch_utils"), module
    try:
        yield
    finally:
        del sys.modules["torch_utils"], sys.modules["torch_utils.persistence"]
