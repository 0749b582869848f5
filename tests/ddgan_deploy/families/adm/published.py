"""ADM's UNet and classifier stated naively in float64, as their paper and their published code have them.

Every layer is computed from its keys as the file has them, each head by itself: nothing here is shared with the
networks under test but the names of the weights.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from tests.ddgan_deploy.families.adm.made import Made


def unet(it: Made, x, t: float, label=None, low_res=None):
    """The output [N, 3 or 6, H, W] for classes [N], and images [N, 3, h, w] that are enlarged."""
    w = _wide(it)
    emb = _time(it, w, t)
    if it.num_classes:
        emb = emb + w["label_emb.weight"][label]
    if it.small_size:
        x = torch.cat([x, _enlarged(low_res, it.image_size)], 1)
    *skips, h = _trunk(it, w, x, emb)
    number = 0
    for level in reversed(range(len(it.widths))):
        for i in range(it.num_res_blocks + 1):
            name = f"output_blocks.{number}"
            h = _residual(w, f"{name}.0", torch.cat([h, skips.pop()], 1), emb)
            if f"{name}.1.norm.weight" in w:
                h = _attention(w, f"{name}.1", h, _heads(it, h.shape[1], True), it.use_new_attention_order)
            if level and i == it.num_res_blocks:
                above = f"{name}.{2 if level in it.attention else 1}"
                h = _residual(w, above, h, emb, _up) if it.resblock_updown else _conv(w, f"{above}.conv", _up(h), 1)
            number += 1
    return _conv(w, "out.2", F.silu(_norm(w, "out.0", h)), 1)


def logits(it: Made, x, t: float):
    """Of a classifier, [N, classes]."""
    w = _wide(it)
    features = _trunk(it, w, x, _time(it, w, t))
    h = features[-1]
    if it.pool == "attention":
        tokens = F.silu(_norm(w, "out.0", h)).flatten(2)
        tokens = torch.cat([tokens.mean(2, keepdim=True), tokens], 2) + w["out.2.positional_embedding"]
        tokens = _attended(_product(w, "out.2.qkv_proj", tokens), _heads(it, h.shape[1]), True)
        return _product(w, "out.2.c_proj", tokens)[:, :, 0]
    if it.pool == "adaptive":
        h = F.silu(_norm(w, "out.0", h)).mean((2, 3), keepdim=True)
        return _conv(w, "out.3", h).flatten(1)
    h = _linear(w, "out.0", torch.cat([each.mean((2, 3)) for each in features], 1))
    if it.pool == "spatial":
        return _linear(w, "out.2", h.relu())
    return _linear(w, "out.3", F.silu(_norm(w, "out.1", h)))


def gradient(it: Made, x, t: float, label):
    """Of the log probabilities of the classes [N], by x."""
    at = x.clone().requires_grad_()
    chosen = logits(it, at, t).log_softmax(1)[torch.arange(len(x)), label]
    return torch.autograd.grad(chosen.sum(), at)[0]


def _wide(it: Made):
    return {name: value.double() for name, value in it.weights.items()}


def _trunk(it: Made, w, x, emb):
    """What every input block gives, and the middle."""
    h = _conv(w, "input_blocks.0.0", x, 1)
    found, number = [h], 1
    for level in range(len(it.widths)):
        for _ in range(it.num_res_blocks):
            name = f"input_blocks.{number}"
            h = _residual(w, f"{name}.0", h, emb)
            if f"{name}.1.norm.weight" in w:
                h = _attention(w, f"{name}.1", h, _heads(it, h.shape[1]), it.use_new_attention_order)
            found.append(h)
            number += 1
        if level < len(it.widths) - 1:
            name = f"input_blocks.{number}.0"
            h = _residual(w, name, h, emb, _down) if it.resblock_updown else _conv(w, f"{name}.op", h, 1, 2)
            found.append(h)
            number += 1
    h = _residual(w, "middle_block.0", h, emb)
    h = _attention(w, "middle_block.1", h, _heads(it, h.shape[1]), it.use_new_attention_order)
    return [*found, _residual(w, "middle_block.2", h, emb)]


def _heads(it: Made, channels: int, up: bool = False) -> int:
    if it.num_head_channels != -1:
        return channels // it.num_head_channels
    return it.num_heads_upsample if up and it.num_heads_upsample != -1 else it.num_heads


def _time(it: Made, w, t: float):
    # In float32, as published: at t = 999 the rounding of a frequency moves a wave by 1e-4.
    half = it.num_channels // 2
    angles = torch.tensor(t).float() * torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
    waves = torch.cat([angles.cos(), angles.sin(), torch.zeros(it.num_channels % 2)])[None].double()
    return _linear(w, "time_embed.2", F.silu(_linear(w, "time_embed.0", waves)))


def _residual(w, name: str, x, emb, resampled=lambda x: x):
    h = _conv(w, f"{name}.in_layers.2", resampled(F.silu(_norm(w, f"{name}.in_layers.0", x))), 1)
    e = _linear(w, f"{name}.emb_layers.1", F.silu(emb))[:, :, None, None]
    if e.shape[1] == 2 * h.shape[1]:
        scale, shift = e.chunk(2, 1)
        h = _norm(w, f"{name}.out_layers.0", h) * (1 + scale) + shift
    else:
        h = _norm(w, f"{name}.out_layers.0", h + e)
    x = resampled(x)
    if f"{name}.skip_connection.weight" in w:
        x = _conv(w, f"{name}.skip_connection", x)
    return x + _conv(w, f"{name}.out_layers.3", F.silu(h), 1)


def _attention(w, name: str, x, heads: int, newer: bool):
    pixels = x.flatten(2)
    h = _attended(_product(w, f"{name}.qkv", _norm(w, f"{name}.norm", pixels)), heads, newer)
    return (pixels + _product(w, f"{name}.proj_out", h)).reshape(x.shape)


def _attended(qkv, heads: int, newer: bool):
    """Each head by itself: its rows lie together, or in the thirds of q, of k and of v."""
    width = qkv.shape[1] // 3
    each, found = width // heads, []
    for i in range(heads):
        starts = [part * width + i * each if newer else (3 * i + part) * each for part in range(3)]
        q, k, v = (qkv[:, start : start + each] for start in starts)
        scores = (q * each**-0.25).transpose(1, 2) @ (k * each**-0.25)
        found.append(v @ scores.softmax(2).transpose(1, 2))
    return torch.cat(found, 1)


def _norm(w, name: str, x):
    grouped = x.reshape(len(x), 32, -1)
    centred = grouped - grouped.mean(2, keepdim=True)
    normal = centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()
    rows = (-1, *(1 for _ in x.shape[2:]))
    return normal.reshape(x.shape) * w[f"{name}.weight"].reshape(rows) + w[f"{name}.bias"].reshape(rows)


def _conv(w, name: str, x, padding: int = 0, stride: int = 1):
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride, padding)


def _product(w, name: str, x):
    return w[f"{name}.weight"][:, :, 0] @ x + w[f"{name}.bias"][:, None]


def _linear(w, name: str, x):
    return x @ w[f"{name}.weight"].t() + w[f"{name}.bias"]


def _down(x):
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


def _up(x):
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def _enlarged(x, size: int):
    """Bilinear, between the centres of pixels."""
    rows = torch.zeros(size, x.shape[2], dtype=x.dtype)
    for i in range(size):
        place = max((i + 0.5) * x.shape[2] / size - 0.5, 0)
        lower = int(place)
        rows[i, lower] += 1 - (place - lower)
        rows[i, min(lower + 1, x.shape[2] - 1)] += place - lower
    return rows @ x @ rows.t()
