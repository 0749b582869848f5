"""Reads the generator's architecture off the names and shapes of its weights.

What shapes cannot tell (resolutions, the filter, the last activation, ...) comes
from the training arguments where they are known, else from the published defaults.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.config import GeneratorConfig

Shapes = Mapping[str, tuple[int, ...]]

DEFAULTS = {field.name: field.default for field in fields(GeneratorConfig)}
NOT_OURS = "it is not the generator of a Denoising Diffusion GAN (NCSN++ with AdaGN)"
RESIDUAL = "progressive 'residual'"
FROM_NOISE = "only generators that draw an image from noise alone are supported"
_CONDITION = re.compile(r"(?!all_modules\.|z_transform\.)[^.]*(?:class|label|text|caption|cond)[^.]*", re.IGNORECASE)
"""A part of a network, beside the two that ours have, through which it is told what to draw."""


@dataclass(frozen=True)
class _Module:
    """One entry of ``all_modules``: its place and what it is."""

    index: int
    kind: str

    @property
    def path(self) -> str:
        return f"all_modules.{self.index}"


def infer_config(
    shapes: Shapes, known: Mapping[str, Any], otherwise: Mapping[str, Any] = MappingProxyType({})
) -> GeneratorConfig:
    """The architecture of the weights.

    Args:
        shapes: parameter name -> shape, without the ``module.`` prefix.
        known: training arguments, by `GeneratorConfig`'s field names; may be empty.
        otherwise: more of them, for what neither the weights nor ``known`` tell.

    Raises:
        InputError: the weights are of another network, a key that is needed is
            missing, or a known argument contradicts the weights.
    """
    found = _Reader(shapes).read()
    for name, value in found.items():
        if name in known and known[name] != value:
            raise InputError(
                f"the config contradicts the weights: it says {name} {_text(known[name])}, "
                f"the weights have {_text(value)}: correct the config"
            )
    values = {**otherwise, **known, **found}
    attention_levels: tuple[int, ...] = values.pop("attention_levels")
    levels = len(found["ch_mult"])
    try:
        resolutions = _resolutions(attention_levels, levels, {**otherwise, **known})
    except InputError:
        if not otherwise:
            raise
        resolutions = _resolutions(attention_levels, levels, known)
    return GeneratorConfig(**{**values, **resolutions})


def _resolutions(attention_levels: tuple[int, ...], levels: int, known: Mapping[str, Any]) -> dict[str, Any]:
    """Image size and attention resolutions from the levels at which attention sits."""
    resolutions = known.get("attn_resolutions", DEFAULTS["attn_resolutions"])
    if "image_size" in known:
        sizes = {known["image_size"]}
    else:
        sizes = {resolution << n for resolution in resolutions for n in attention_levels}

    def fits(size: int) -> bool:
        return tuple(n for n in range(levels) if size >> n in resolutions) == attention_levels

    fitting = sorted(size for size in sizes if fits(size) and size % 2 ** (levels - 1) == 0)
    if len(fitting) == 1:
        return {"image_size": fitting[0], "attn_resolutions": resolutions}
    if "image_size" in known and "attn_resolutions" not in known:
        size = known["image_size"]
        return {"image_size": size, "attn_resolutions": tuple(size >> n for n in attention_levels)}
    where = "no level has attention"
    if attention_levels:
        where = f"attention sits at levels {_text(attention_levels)} of {levels}"
    if known.keys() & {"image_size", "attn_resolutions"} and not fitting:
        said = ", ".join(f"{k} {_text(known[k])}" for k in ("image_size", "attn_resolutions") if k in known)
        raise InputError(f"the config contradicts the weights: it says {said}, but {where}: correct the config")
    raise InputError(
        f"the image size cannot be told from the weights ({where}): give --config with image_size and attn_resolutions"
    )


def _text(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else repr(value)


class _Reader:
    """Reads the fields that names and shapes determine.

    Sizes are decided by a vote of all the weights that tell them, so that one
    misshapen weight is later named itself rather than everything around it.
    """

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self.suffixes: dict[int, dict[str, tuple[int, ...]]] = {}
        for key, shape in shapes.items():
            match = re.fullmatch(r"all_modules\.(\d{1,6})\.(.+)", key)
            if match:
                self.suffixes.setdefault(int(match[1]), {})[match[2]] = shape
        if not self.suffixes or not any(key.startswith("z_transform.") for key in shapes):
            example = next(iter(shapes), None)
            has = f"its first key is {example!r}" if example else "it holds no weights"
            raise InputError(f"{NOT_OURS}: {has}; give a published netG_<epoch>.pth or content.pth")
        if "W" in self.suffixes.get(0, {}):
            raise InputError(_unsupported("embedding_type 'fourier'"))
        if condition := next(filter(None, map(_CONDITION.match, shapes)), None):
            raise InputError(f"the network has {condition[0][:60]!r} and seems to be conditional: {FROM_NOISE}")

    def read(self) -> dict[str, Any]:
        # With time two Linears come first, without it a convolution and then a ResBlock.
        conditional = not {"weight", "bias"}.isdisjoint(self.suffixes.get(1, {}))
        first = 2 if conditional else 0
        last = f"all_modules.{max(self.suffixes)}"
        modules = [_Module(i, self._kind(i)) for i in sorted(self.suffixes) if i > first]
        of_time = [
            ("all_modules.0.weight", 1, 1),
            ("all_modules.0.weight", 0, 4),
            ("all_modules.1.weight", 0, 4),
        ]
        nf = self._vote([(f"all_modules.{first}.weight", 0, 1), *(of_time if conditional else [])])
        levels, num_res_blocks = self._depth(modules)
        found: dict[str, Any] = {
            "conditional": conditional,
            "num_channels_dae": nf,
            "num_channels": self._vote(
                [(f"all_modules.{first}.weight", 1, 1), (f"{last}.weight", 0, 1), (f"{last}.bias", 0, 1)]
            ),
            "num_res_blocks": num_res_blocks,
            "resblock_type": self._resblock_type(modules),
            **self._latent(),
            **self._walk_down(modules, levels, num_res_blocks, nf),
        }
        if levels > 1:
            found["progressive"] = self._progressive(modules, levels)
        self._check_image(first, last)
        return found

    def _check_image(self, first: int, last: str) -> None:
        """Refuses a network that takes other channels than it gives."""
        takes = next(self._sizes([(f"all_modules.{first}.weight", 1, 1)]), None)
        gives = set(self._sizes([(f"{last}.weight", 0, 1), (f"{last}.bias", 0, 1)]))
        if takes is None or len(gives) != 1 or takes in gives:
            return
        (given,) = gives
        what = "is conditional on an image" if takes > given else "gives more than an image"
        raise InputError(
            f"the network takes {takes} channels in and gives {given} out, so that it {what}: {FROM_NOISE}"
        )

    def _kind(self, index: int) -> str:
        suffixes = self.suffixes[index]
        names = {suffix.split(".")[0] for suffix in suffixes}
        if names & {"Dense_0", "GroupNorm_1", "Conv_1", "Conv_2"}:
            if "NIN_0" in names:
                raise InputError(_unsupported("resblock_type 'ddpm'"))
            return "resample" if "Conv_2" in names and self._keeps_channels(index) else "block"
        if any(name.startswith("NIN_") for name in names):
            return "attention"
        if "Conv2d_0" in names:
            return "fir_pyramid"
        if "Conv_0" in names:
            return "combine" if suffixes.get("Conv_0.weight", ())[2:] == (1, 1) else "plain_pyramid"
        if "weight" not in suffixes:
            raise InputError(_missing(f"all_modules.{index}.weight"))
        return "conv" if len(suffixes["weight"]) == 4 else "norm"

    def _keeps_channels(self, index: int) -> bool:
        """Whether a ResBlock has as many channels in as out; one with a shortcut then resamples."""
        block = f"all_modules.{index}"
        into = [("Conv_0.weight", 1, 1), ("Conv_2.weight", 1, 1), ("GroupNorm_0.style.weight", 0, 2)]
        out = [("Conv_0.weight", 0, 1), ("Conv_1.weight", 0, 1), ("Dense_0.weight", 0, 1)]
        sizes = [self._vote([(f"{block}.{key}", axis, by) for key, axis, by in way]) for way in (into, out)]
        return sizes[0] == sizes[1]

    def _depth(self, modules: list[_Module]) -> tuple[int, int]:
        """Levels and ResBlocks per level: L(2n+1)+2 ordinary ones and 2(L-1) that resample."""
        levels = _count(modules, "resample") // 2 + 1
        per_level, rest = divmod(_count(modules, "block") - 2, levels)
        if _count(modules, "resample") % 2 or rest or per_level < 3 or per_level % 2 == 0:
            raise InputError(
                f"{NOT_OURS}, or keys are missing: {_count(modules, 'block')} ResBlocks and "
                f"{_count(modules, 'resample')} resampling ones form no U-Net"
            )
        return levels, (per_level - 1) // 2

    def _progressive(self, modules: list[_Module], levels: int) -> str:
        images = _count(modules, "norm")
        if images not in (1, levels):
            raise InputError(
                f"{NOT_OURS}, or keys are missing: {images} output convolutions "
                f"at {levels} levels; note that {_unsupported(RESIDUAL)}"
            )
        return "none" if images == 1 else "output_skip"

    def _resblock_type(self, modules: list[_Module]) -> str:
        blocks = [self.suffixes[m.index] for m in modules if m.kind in ("block", "resample")]
        styled = sum("GroupNorm_1.style.weight" in suffixes for suffixes in blocks)
        return "biggan" if 2 * styled > len(blocks) else "biggan_oneadagn"

    def _latent(self) -> dict[str, int]:
        matches = (re.fullmatch(r"z_transform\.(\d+)\.(?:weight|bias)", key) for key in self.shapes)
        n_mlp = max(len({match[1] for match in matches if match}), 1) - 1
        keys = [f"z_transform.{1 + 2 * i}.weight" for i in range(n_mlp + 1)]
        z_emb_dim = self._vote([(key, 0, 1) for key in keys] + [(key, 1, 1) for key in keys[1:]])
        return {"n_mlp": n_mlp, "z_emb_dim": z_emb_dim, "nz": self._vote([(keys[0], 1, 1)])}

    def _walk_down(self, modules: list[_Module], levels: int, num_res_blocks: int, nf: int) -> dict[str, Any]:
        """Channels and attention of each level, and the input pyramid, along the way down."""
        walk = iter(modules)
        ahead = next(walk, None)

        def take(*kinds: str) -> _Module | None:
            nonlocal ahead
            module = ahead
            if module is None or module.kind not in kinds:
                return None
            ahead = next(walk, None)
            return module

        ch_mult: list[int] = []
        attention: set[int] = set()
        pyramid: dict[str, Any] = {}
        for level in range(levels):
            block = None
            for _ in range(num_res_blocks):
                block = take("block")
                if block is None:
                    raise InputError(f"{NOT_OURS}, or keys are missing: level {level} has too few ResBlocks")
                if take("attention"):
                    attention.add(level)
            assert block is not None
            telling = ("Conv_0.weight", "Conv_1.weight", "Dense_0.weight", "Conv_1.bias")
            channels = self._vote([(f"{block.path}.{key}", 0, 1) for key in telling])
            if channels % nf:
                raise InputError(
                    f"{block.path}.Conv_0.weight has {channels} channels, "
                    f"no multiple of the first layer's {nf}: {NOT_OURS}"
                )
            ch_mult.append(channels // nf)
            if level < levels - 1:
                take("resample")
                joint = take("fir_pyramid", "plain_pyramid", "combine")
                pyramid |= self._pyramid(joint, ahead, channels)
        return {"ch_mult": tuple(ch_mult), "attention_levels": tuple(sorted(attention)), **pyramid}

    def _pyramid(self, joint: _Module | None, after: _Module | None, channels: int) -> dict[str, Any]:
        if joint is None:
            return {"progressive_input": "none"}
        if joint.kind == "combine":
            width = self._vote([(f"{after.path}.GroupNorm_0.style.weight", 0, 2)]) if after else channels
            combine = "cat" if width == 2 * channels else "sum"
            return {"progressive_input": "input_skip", "progressive_combine": combine}
        return {"progressive_input": "residual", "fir": joint.kind == "fir_pyramid"}

    def _vote(self, sources: Iterable[tuple[str, int, int]]) -> int:
        """The size that most of (key, axis, divisor) tell."""
        sources = list(sources)
        counts = Counter(self._sizes(sources))
        if not counts:
            raise InputError(_missing(sources[0][0]))
        return counts.most_common(1)[0][0]

    def _sizes(self, sources: Iterable[tuple[str, int, int]]) -> Iterator[int]:
        for key, axis, divisor in sources:
            shape = self.shapes.get(key, ())
            if axis < len(shape) and shape[axis] >= divisor:
                yield shape[axis] // divisor


def _unsupported(choice: str) -> str:
    return f"{choice} is not supported, since the published code cannot run it"


def _missing(key: str) -> str:
    return f"the key {key!r} is missing or misshapen: {NOT_OURS}, or the file is damaged"


def _count(modules: Iterable[_Module], kind: str) -> int:
    return sum(module.kind == kind for module in modules)
