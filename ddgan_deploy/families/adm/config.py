"""The architecture of an ADM's UNet and of its classifier, and how they are sampled from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.flags import SamplerName

NoiseSchedule = Literal["linear", "cosine"]
Pool = Literal["attention", "adaptive", "spatial", "spatial_v2"]
SPATIAL_WIDTH = 2048
"""Of the hidden layer of a spatial pool."""
CLASSIFIER_HEADS = 64
"""Channels of each head of a classifier, a constant in the published code."""
MOST_GUIDANCE = 1000.0
GROUPS = 32
"""Of every norm, which all widths are multiples of."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a network's keys and shapes tell of the way down, which a UNet and a classifier share.

    Attributes:
        num_channels: the width by which those of all levels are multiplied.
        num_res_blocks: of a level.
        channel_mult: of each level, the finest first: its width over ``num_channels``.
        attention_levels: the levels, from 0 on, whose blocks attend.
        use_scale_shift_norm: whether the embedding scales and shifts the second norm of a block, or is added before it.
        resblock_updown: whether a block resamples, or a convolution.
    """

    num_channels: int
    num_res_blocks: int
    channel_mult: tuple[float, ...]
    attention_levels: tuple[int, ...]
    use_scale_shift_norm: bool
    resblock_updown: bool


@dataclass(frozen=True, kw_only=True)
class Trunk(Told):
    """The way down and the middle of a network.

    Attributes:
        image_size: pixels along a side of x_t, which no weight tells.
    """

    image_size: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(round(mult * self.num_channels) for mult in self.channel_mult)

    @property
    def embedding(self) -> int:
        """Width of the embedding of time and class."""
        return 4 * self.num_channels

    @property
    def sizes(self) -> tuple[int, ...]:
        """Pixels along a side, of each level."""
        return tuple(self.image_size >> level for level in range(len(self.channel_mult)))

    @property
    def attention_kernel(self) -> tuple[int, ...]:
        """Extents of the convolutions of an attention, as files have them; of one dimension here."""
        return (1,)


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Trunk):
    """A classifier of noisy images; its attention is laid out as upstream's older one, which a fold undoes.

    Attributes:
        pool: how features become logits.
        num_classes: of the logits.
        num_head_channels: of each head.
    """

    pool: Pool
    num_classes: int
    num_head_channels: int = CLASSIFIER_HEADS

    @property
    def in_channels(self) -> int:
        """Of the first convolution."""
        return 3

    def heads(self, channels: int, up: bool = False) -> int:
        """Of an attention over so many channels."""
        return channels // self.num_head_channels


@dataclass(frozen=True, kw_only=True)
class AdmConfig(Trunk):
    """A UNet, and the classifier that guides it.

    Attributes:
        num_heads: of an attention, where ``num_head_channels`` is -1.
        num_head_channels: of each head, or -1.
        num_heads_upsample: of an attention on the way up, where ``num_head_channels`` is -1; -1: as ``num_heads``.
        use_new_attention_order: whether q, k, v are laid out before the heads.
        learn_sigma: whether the output has the variance's interpolation beside the noise.
        num_classes: 0 where there is no class.
        small_size: pixels along a side of what an upsampler is given; 0: it is none.
        classifier: what guides it.
    """

    num_heads: int = 1
    num_head_channels: int = -1
    num_heads_upsample: int = -1
    use_new_attention_order: bool = False
    learn_sigma: bool = True
    num_classes: int = 0
    small_size: int = 0
    classifier: ClassifierConfig | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return 3, self.image_size, self.image_size

    @property
    def in_channels(self) -> int:
        """Of the first convolution, which sees what an upsampler is given, too."""
        return 6 if self.small_size else 3

    @property
    def labels(self) -> int:
        """How many classes can be asked for; 0: none."""
        return self.classifier.num_classes if self.classifier else self.num_classes

    def heads(self, channels: int, up: bool = False) -> int:
        """Of an attention over so many channels."""
        if self.num_head_channels != -1:
            return channels // self.num_head_channels
        return self.num_heads_upsample if up and self.num_heads_upsample != -1 else self.num_heads


@dataclass(frozen=True)
class AdmSampling:
    """How a UNet is sampled from.

    Attributes:
        steps: T, 2 to ``diffusion_steps``.
        sampler: ddpm (Ho et al. 2020), or ddim (Song et al. 2021) without noise.
        timestep_respacing: which of the trained steps are kept, such as "25", "10,10,5" or "ddim25"; "": all.
        diffusion_steps: that the network was trained for.
        noise_schedule: of the trained process.
        predict_xstart: whether the network gives x_0, not the noise.
        rescale_timesteps: whether times go to the networks as if there were 1000 of them.
        clip_denoised: whether x_0 is clamped to [-1, 1] at every step.
        sigma_small: of a variance that is not learned, whether it is the posterior's, not β.
        guidance: by what the classifier's gradient is multiplied, as far as nothing else is asked for.

    Raises:
        InputError: guidance is out of range, or there is no such process.
    """

    steps: int
    sampler: SamplerName = "ddpm"
    timestep_respacing: str = ""
    diffusion_steps: int = 1000
    noise_schedule: NoiseSchedule = "linear"
    predict_xstart: bool = False
    rescale_timesteps: bool = False
    clip_denoised: bool = True
    sigma_small: bool = False
    guidance: float = 1.0

    def __post_init__(self) -> None:
        # Also false for NaN.
        if not -MOST_GUIDANCE <= self.guidance <= MOST_GUIDANCE:
            raise InputError(
                f"guidance {self.guidance:g} is out of range: give --guidance, or classifier_scale in --config, in "
                f"{-MOST_GUIDANCE:g}..{MOST_GUIDANCE:g}"
            )
