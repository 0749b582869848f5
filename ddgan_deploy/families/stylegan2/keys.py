"""The names and shapes of a StyleGAN2 generator's weights, and the numbers that its layers carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import sqrt

from ddgan_deploy.families.stylegan2.config import GAINS, StyleGan2Config, blocks

Shapes = Mapping[str, tuple[int, ...]]


def expected_shapes(config: StyleGan2Config) -> Shapes:
    """Of parameters and buffers, under their published names."""
    return dict((*_mapping(config), *_synthesis(config)))


Gains = Mapping[tuple[str, str], float]
"""(module, attribute) -> what a published layer has there."""


def expected_gains(config: StyleGan2Config) -> Gains:
    """By which weights, biases and activations are multiplied."""
    found: dict[tuple[str, str], float] = {}
    widths = [config.z_dim + config.embed_width, *config.mapping_widths]
    for i, width in enumerate(widths[:-1]):
        found[f"mapping.fc{i}", "weight_gain"] = config.lr_multiplier / sqrt(width)
        found[f"mapping.fc{i}", "bias_gain"] = config.lr_multiplier
    if config.c_dim:
        found["mapping.embed", "weight_gain"] = 1 / sqrt(config.c_dim)
        found["mapping.embed", "bias_gain"] = 1.0
    for block in blocks(config):
        for layer in block.layers:
            name = f"synthesis.{layer.name}"
            found[f"{name}.affine", "weight_gain"] = 1 / sqrt(config.w_dim)
            found[f"{name}.affine", "bias_gain"] = 1.0
            gain = ("weight_gain", 1 / sqrt(layer.inputs)) if layer.is_rgb else ("act_gain", GAINS[config.activation])
            found[(name, gain[0])] = gain[1]
        if block.is_summed:
            found[f"synthesis.{block.name}.skip", "weight_gain"] = 1 / sqrt(block.inputs)
            found[f"synthesis.{block.name}.skip", "act_gain"] = 1.0
    return found


def _mapping(config: StyleGan2Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    if config.has_mean:
        yield "mapping.w_avg", (config.w_dim,)
    if config.c_dim:
        yield "mapping.embed.weight", (config.embed_width, config.c_dim)
        yield "mapping.embed.bias", (config.embed_width,)
    inputs = config.z_dim + config.embed_width
    for i, outputs in enumerate(config.mapping_widths):
        yield f"mapping.fc{i}.weight", (outputs, inputs)
        yield f"mapping.fc{i}.bias", (outputs,)
        inputs = outputs


def _synthesis(config: StyleGan2Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    taps = (config.filter_width,) * 2
    for block in blocks(config):
        name = f"synthesis.{block.name}"
        yield f"{name}.resample_filter", taps
        if not block.inputs:
            yield f"{name}.const", (block.outputs, block.size, block.size)
        for layer in block.layers:
            path, kernel = f"synthesis.{layer.name}", 1 if layer.is_rgb else 3
            yield f"{path}.weight", (layer.outputs, layer.inputs, kernel, kernel)
            yield f"{path}.bias", (layer.outputs,)
            yield f"{path}.affine.weight", (layer.inputs, config.w_dim)
            yield f"{path}.affine.bias", (layer.inputs,)
            if not layer.is_rgb:
                yield f"{path}.resample_filter", taps
                if config.use_noise:
                    yield f"{path}.noise_const", (layer.size, layer.size)
                    yield f"{path}.noise_strength", ()
        if block.is_summed:
            yield f"{name}.skip.weight", (block.outputs, block.inputs, 1, 1)
            yield f"{name}.skip.resample_filter", taps
