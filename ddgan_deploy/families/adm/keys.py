"""The names and shapes of the weights of a UNet and of a classifier, as they are published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ddgan_deploy.families.adm.config import SPATIAL_WIDTH, AdmConfig, ClassifierConfig
from ddgan_deploy.families.adm.layout import Layer, Network, all_layers, down_blocks

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
CLASSIFIER = "classifier."
"""Before the names of a classifier's weights, beside those of a UNet."""


def expected_shapes(config: Network) -> Shapes:
    """Of all weights."""
    found = dict(_linear("time_embed.0", config.num_channels, config.embedding))
    found |= _linear("time_embed.2", config.embedding, config.embedding)
    if isinstance(config, AdmConfig) and config.num_classes:
        found["label_emb.weight"] = (config.num_classes, config.embedding)
    for layer in all_layers(config):
        found |= _layer(config, layer)
    found |= _head(config) if isinstance(config, AdmConfig) else _pool(config)
    return found


def pooled_channels(config: ClassifierConfig) -> int:
    """Of all blocks, whose means a spatial pool takes."""
    return sum(block.outputs for block in down_blocks(config)) + config.widths[-1]


def _layer(config: Network, layer: Layer) -> Iterator[tuple[str, Shape]]:
    name, inputs, outputs = layer.name, layer.inputs, layer.outputs
    if layer.kind == "conv":
        yield from _conv(name, inputs, outputs, 3)
    elif layer.kind == "down":
        yield from _conv(f"{name}.op", inputs, outputs, 3)
    elif layer.kind == "up":
        yield from _conv(f"{name}.conv", inputs, outputs, 3)
    elif layer.kind == "attention":
        yield from _norm(f"{name}.norm", inputs)
        yield from _products(f"{name}.qkv", inputs, 3 * inputs, config.attention_kernel)
        yield from _products(f"{name}.proj_out", inputs, inputs, config.attention_kernel)
    else:
        yield from _norm(f"{name}.in_layers.0", inputs)
        yield from _conv(f"{name}.in_layers.2", inputs, outputs, 3)
        yield from _linear(f"{name}.emb_layers.1", config.embedding, outputs * (1 + config.use_scale_shift_norm))
        yield from _norm(f"{name}.out_layers.0", outputs)
        yield from _conv(f"{name}.out_layers.3", outputs, outputs, 3)
        if inputs != outputs:
            yield from _conv(f"{name}.skip_connection", inputs, outputs, 1)


def _head(config: AdmConfig) -> Iterator[tuple[str, Shape]]:
    width = config.widths[0]
    yield from _norm("out.0", width)
    yield from _conv("out.2", width, 6 if config.learn_sigma else 3, 3)


def _pool(config: ClassifierConfig) -> Iterator[tuple[str, Shape]]:
    width, classes = config.widths[-1], config.num_classes
    if config.pool == "attention":
        yield from _norm("out.0", width)
        yield "out.2.positional_embedding", (width, config.sizes[-1] ** 2 + 1)
        yield from _products("out.2.qkv_proj", width, 3 * width)
        yield from _products("out.2.c_proj", width, classes)
    elif config.pool == "adaptive":
        yield from _norm("out.0", width)
        yield from _conv("out.3", width, classes, 1)
    else:
        yield from _linear("out.0", pooled_channels(config), SPATIAL_WIDTH)
        if config.pool == "spatial_v2":
            yield from _norm("out.1", SPATIAL_WIDTH)
        yield from _linear("out.2" if config.pool == "spatial" else "out.3", SPATIAL_WIDTH, classes)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (channels,)
    yield f"{name}.bias", (channels,)


def _products(name: str, inputs: int, outputs: int, kernel: Shape = (1,)) -> Iterator[tuple[str, Shape]]:
    """Of every pixel, a convolution."""
    yield f"{name}.weight", (outputs, inputs, *kernel)
    yield f"{name}.bias", (outputs,)


def _conv(name: str, inputs: int, outputs: int, kernel: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs, kernel, kernel)
    yield f"{name}.bias", (outputs,)
