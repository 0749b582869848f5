"""What a Denoising Diffusion GAN generator is made of, as plain data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ddgan_deploy.errors import InputError

RESBLOCK_TYPES = ("biggan", "biggan_oneadagn")
PROGRESSIVE = ("none", "output_skip")
PROGRESSIVE_INPUT = ("none", "input_skip", "residual")
PROGRESSIVE_COMBINE = ("sum", "cat")
IMAGE_CHANNELS = (1, 3, 4)
MAX_IMAGE_SIZE = 4096


@dataclass(frozen=True)
class GeneratorConfig:
    """The architecture of an NCSN++ generator with adaptive group normalization.

    Field names are the argument names of the published training script, so that
    its ``args`` can be read as they are.

    Raises:
        InputError: a value, or a combination of values, that the published code
            itself cannot run; the message names it.
    """

    image_size: int
    num_channels: int
    num_channels_dae: int
    ch_mult: tuple[int, ...]
    num_res_blocks: int
    nz: int
    z_emb_dim: int
    n_mlp: int
    attn_resolutions: tuple[int, ...] = (16,)
    resblock_type: str = "biggan"
    progressive: str = "none"
    progressive_input: str = "residual"
    progressive_combine: str = "sum"
    embedding_type: str = "positional"
    fir: bool = True
    fir_kernel: tuple[float, ...] = (1, 3, 3, 1)
    skip_rescale: bool = True
    conditional: bool = True
    centered: bool = True
    not_use_tanh: bool = False

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_sizes()
        # So that the same network has the same description, whoever states it.
        object.__setattr__(self, "fir_kernel", tuple(float(tap) for tap in self.fir_kernel))

    def _check_choices(self) -> None:
        for name, allowed in (
            ("resblock_type", RESBLOCK_TYPES),
            ("progressive", PROGRESSIVE),
            ("progressive_input", PROGRESSIVE_INPUT),
            ("progressive_combine", PROGRESSIVE_COMBINE),
            ("embedding_type", ("positional",)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise InputError(
                    f"{name} {value!r} is not supported, since the published code cannot run it: "
                    f"use one of {', '.join(allowed)}"
                )
        if self.progressive == "output_skip" and not self.fir:
            raise InputError(
                "progressive 'output_skip' without fir is not supported, since the published code "
                "cannot run it: use fir, or progressive 'none'"
            )
        if len(self.fir_kernel) != 4 or sum(self.fir_kernel) == 0:
            raise InputError(
                f"fir_kernel {list(self.fir_kernel)} is not supported: give four taps with a sum "
                "other than 0, as the published [1, 3, 3, 1]"
            )

    def _check_sizes(self) -> None:
        for name in ("image_size", "num_channels", "num_channels_dae", "num_res_blocks", "nz", "z_emb_dim"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} is not a size: it must be 1 or more")
        if self.num_channels not in IMAGE_CHANNELS:
            raise InputError(f"num_channels {self.num_channels} is no image: it must be 1 (grey), 3 (RGB) or 4 (RGBA)")
        if self.image_size > MAX_IMAGE_SIZE:
            raise InputError(f"image_size {self.image_size} is too large: it must be at most {MAX_IMAGE_SIZE}")
        if self.n_mlp < 0:
            raise InputError(f"n_mlp {self.n_mlp} is not a number of layers: it must be 0 or more")
        if not self.ch_mult or min(self.ch_mult) < 1:
            raise InputError(f"ch_mult {list(self.ch_mult)} must list one factor of 1 or more per level")
        if self.num_channels_dae < 4 or self.num_channels_dae % 2:
            raise InputError(f"num_channels_dae {self.num_channels_dae} must be even and at least 4")
        if self.image_size % 2 ** (self.levels - 1):
            raise InputError(
                f"image_size {self.image_size} cannot be halved {self.levels - 1} times, "
                f"as ch_mult {list(self.ch_mult)} asks"
            )

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return len(self.ch_mult)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return (self.num_channels, self.image_size, self.image_size)

    def resolution(self, level: int) -> int:
        """Pixels along a side at a level; level 0 is the image's own."""
        return self.image_size >> level

    def has_attention(self, level: int) -> bool:
        """Whether the blocks at a level are followed by self-attention."""
        return self.resolution(level) in self.attn_resolutions


FIELDS = tuple(field.name for field in dataclasses.fields(GeneratorConfig))
