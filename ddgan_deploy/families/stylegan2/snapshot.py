"""The module tree of a snapshot's ``G_ema`` -> the generator's architecture and its published weights.

Whatever the defaults of the code were that trained it, every layer carries what it was made with: shapes tell the
widths, attributes the rest, and all of them must agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.stylegan2.config import FIRST_SIZE, SLOPES, StyleGan2Config, layers
from ddgan_deploy.families.stylegan2.keys import expected_gains, expected_shapes
from ddgan_deploy.names import shown
from ddgan_deploy.weight_files.objects import AVERAGED, Saved, modules, parts, state_dict

_ARCHITECTURES = ("skip", "orig", "resnet")
_ANOTHER = "this is another network than the published StyleGAN2"
_UNUSED = "num_batches_tracked"
_CLOSE = 1e-5
"""Relative; gains were computed in float64 or float32."""


def is_generator(contents: Mapping[str, Any]) -> bool:
    """Whether a file's contents have a ``G_ema`` with the two parts of such a generator."""
    both = parts(contents.get(AVERAGED))
    return isinstance(both.get("mapping"), Saved) and not {"b4", "input"}.isdisjoint(parts(both.get("synthesis")))


def source_texts(root: Saved) -> tuple[str, ...]:
    """All texts of Python modules that the generator's objects carry."""
    return tuple(dict.fromkeys(module.source for _, module in modules(root) if module.source is not None))


def generator_of(root: Saved) -> tuple[StyleGan2Config, dict[str, Any]]:
    """The architecture, and its weights as they are stored under their published names, unchecked but for shapes.

    Raises:
        InputError: it is no whole StyleGAN2 generator; the message names what is wrong.
    """
    found = dict(modules(root))
    if "synthesis.input" in found:
        raise InputError(f"{AVERAGED} is a StyleGAN3 generator: give a StyleGAN2's")
    tensors = {name: value for name, value in state_dict(root).items() if not name.endswith(_UNUSED)}
    shapes = {name: tuple(getattr(value, "shape", ())) for name, value in tensors.items()}
    config = _architecture(found, shapes)
    _check_shapes(shapes, expected_shapes(config))
    for (path, name), expected in expected_gains(config).items():
        _check_number(found[path], path, name, expected)
    for layer in layers(config):
        path = f"synthesis.{layer.name}"
        _check_number(found[path], path, "conv_clamp", config.conv_clamp)
    return config, tensors


def _architecture(found: Mapping[str, Saved], shapes: Mapping[str, tuple[int, ...]]) -> StyleGan2Config:
    root, mapping = found[""], found["mapping"]
    size, colours = (_integer(root, name) for name in ("img_resolution", "img_channels"))
    z_dim, w_dim, c_dim = (_integer(root, name) for name in ("z_dim", "w_dim", "c_dim"))
    if size < FIRST_SIZE or size & (size - 1):
        raise InputError(f"img_resolution {size} is no power of two from {FIRST_SIZE} on: {_ANOTHER}")
    if not z_dim or not colours:
        raise InputError(f"z_dim {z_dim} and img_channels {colours} leave nothing to draw: {_ANOTHER}")
    sizes = [FIRST_SIZE << i for i in range(int(math.log2(size // FIRST_SIZE)) + 1)]
    styled = [_part(found, f"synthesis.b{each}.conv1") for each in sizes]
    whole = [_part(found, f"synthesis.b{each}") for each in sizes]
    fully = [_part(found, f"mapping.fc{i}") for i in range(_integer(mapping, "num_layers"))]
    if not fully:
        raise InputError(f"the mapping network has no layers: {_ANOTHER}")
    convolutions = [module for path, module in found.items() if path.endswith((".conv0", ".conv1"))]
    noisy = {bool(_attribute(module, "use_noise")) for module in convolutions}
    if len(noisy) > 1:
        raise InputError(f"some convolutions have noise and some have none: {_ANOTHER}")
    half = [each for each, block in zip(sizes, whole, strict=True) if block.state.get("use_fp16")]
    filters = shapes.get("synthesis.b4.resample_filter", ())
    if len(filters) != 2 or filters[0] != filters[1] or filters[0] % 2:
        raise InputError(f"resample_filter has shape {list(filters)}: only even filters in two dimensions are known")
    return StyleGan2Config(
        z_dim=z_dim,
        w_dim=w_dim,
        c_dim=c_dim,
        image_size=size,
        num_channels=colours,
        channels=tuple(_rows(shapes, f"synthesis.b{each}.conv1.weight") for each in sizes),
        mapping_widths=tuple(_rows(shapes, f"mapping.fc{i}.weight") for i in range(len(fully))),
        embed_width=_rows(shapes, "mapping.embed.weight") if c_dim else 0,
        lr_multiplier=_number(fully[0], "bias_gain"),
        architecture=_one_of(whole, "architecture", _ARCHITECTURES),
        mapping_activation=_one_of(fully, "activation", tuple(SLOPES)),
        activation=_one_of(convolutions, "activation", tuple(SLOPES)),
        filter_width=filters[0],
        use_noise=noisy.pop(),
        conv_clamp=None if styled[0].state.get("conv_clamp") is None else _number(styled[0], "conv_clamp"),
        float16_from=half[0] if half else 0,
        has_mean="mapping.w_avg" in shapes,
    )


def _check_shapes(shapes: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in expected.items():
        if name not in shapes:
            raise InputError(f"{name} is missing, of shape {list(shape)}: the snapshot is incomplete")
        if shapes[name] != shape:
            raise InputError(f"{name} has shape {list(shapes[name])}, {list(shape)} would fit the rest: {_ANOTHER}")
    extra = [name for name in shapes if name not in expected]
    if extra:
        raise InputError(f"{len(extra)} weights are left over, the first is {extra[0]}: {_ANOTHER}")


def _check_number(module: Saved, path: str, name: str, expected: float | None) -> None:
    if expected is None:
        if module.state.get(name) is not None:
            raise InputError(f"{path} has {name} {shown(module.state[name])}, others have none: {_ANOTHER}")
        return
    value = _number(module, name)
    if abs(value - expected) > _CLOSE * abs(expected):
        raise InputError(f"{path} has {name} {value:g}, {expected:g} would fit the rest: {_ANOTHER}")


def _part(found: Mapping[str, Saved], path: str) -> Saved:
    if path not in found:
        raise InputError(f"{path} is missing: {_ANOTHER}")
    return found[path]


def _rows(shapes: Mapping[str, tuple[int, ...]], name: str) -> int:
    if not shapes.get(name):
        raise InputError(f"{name} is missing: the snapshot is incomplete")
    return shapes[name][0]


def _attribute(module: Saved, name: str) -> Any:
    if name not in module.state:
        raise InputError(f"a {module.class_name} carries no {name}: {_ANOTHER}")
    return module.state[name]


def _integer(module: Saved, name: str) -> int:
    value = _attribute(module, name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 20:
        raise InputError(f"the {module.class_name}'s {name} is {shown(value)}, no size: {_ANOTHER}")
    return value


def _number(module: Saved, name: str) -> float:
    value = _attribute(module, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"the {module.class_name}'s {name} is {shown(value)}, no number: {_ANOTHER}")
    return float(value)


def _one_of(found: list[Saved], name: str, known: tuple[str, ...]) -> Any:
    values = [_attribute(module, name) for module in found]
    for value in values:
        # Nothing else is compared: two objects that lie in themselves would never be done.
        if not isinstance(value, str):
            raise InputError(f"{name} is {shown(value)}: only {', '.join(known)} are known")
    if len(set(values)) > 1:
        raise InputError(f"{name} differs from layer to layer: {_ANOTHER}")
    if values[0] not in known:
        raise InputError(f"{name} is {shown(values[0])}: only {', '.join(known)} are known")
    return values[0]
