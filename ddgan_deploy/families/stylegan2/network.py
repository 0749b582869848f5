"""The reference generator: StyleGAN2, Karras et al., "Analyzing and improving the image quality of StyleGAN" (CVPR
2020), whose modulation of the weights is stated on what they are applied to.

    conv(x, w_ijk s_i) / sqrt(sum_ik (w_ijk s_i)^2)  =  conv(x s, w) d        equations 1 to 3

so that one convolution serves a whole batch. Weights are those of `folding`, with every constant gain inside.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ddgan_deploy.families.stylegan2.config import SLOPES, Block, Layer, Sampling, StyleGan2Config, blocks, layers
from ddgan_deploy.families.stylegan2.flags import Noise
from ddgan_deploy.families.stylegan2.folding import EPSILON, TINY
from ddgan_deploy.kernels.style_lrelu.spec import style_lrelu


class Float32(nn.Module):
    """What stays in float32 whatever the precision around it is: latents, styles, demodulation, noise and images."""


class Generator(nn.Module):
    """G(z) -> an image, by w and the styles of all layers.

    Attributes:
        config: the architecture.
        sampling: the noise, and which layers truncation holds for.
    """

    def __init__(self, config: StyleGan2Config, sampling: Sampling) -> None:
        super().__init__()
        self.config, self.sampling = config, sampling
        if config.has_mean:
            self.truncation = Truncation(config)
        self.mapping = Mapping(config)
        cutoff = sampling.truncation_cutoff
        self.styles = Styles(config, config.num_ws if cutoff is None else cutoff)
        self.synthesis = Synthesis(config, sampling.noise)

    def forward(
        self,
        z: torch.Tensor,
        label: torch.Tensor | None = None,
        truncation: torch.Tensor | None = None,
        noises: Sequence[torch.Tensor] = (),
    ) -> list[torch.Tensor]:
        """w, and what `Synthesis` makes of it.

        Args:
            z: [N, 1, z_dim].
            label: int64 [N, 1], where there are classes.
            truncation: psi [N, 1]; None: w as it is.
            noises: for each convolution float32 [N, 1, H, W], where noise is random.
        """
        w = self.mapping(z, label)
        near = w if truncation is None else self.truncation(w, truncation)
        return [w, *self.synthesis(self.styles(near, w), noises)]


class Mapping(Float32):
    """z [N, 1, z_dim] and labels [N, 1] -> w [N, w_dim]; both are brought to length one first."""

    classes: torch.Tensor

    def __init__(self, config: StyleGan2Config) -> None:
        super().__init__()
        self.has_classes = config.c_dim > 0
        if self.has_classes:
            self.register_buffer("classes", torch.empty(config.c_dim, config.embed_width))
        widths = [config.z_dim + config.embed_width, *config.mapping_widths]
        slope = SLOPES[config.mapping_activation]
        self.layers = nn.Sequential(*(_Dense(*pair, slope) for pair in itertools.pairwise(widths)))

    def forward(self, z: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        z = z.flatten(1)
        latent = z * torch.rsqrt((z * z).mean(1, keepdim=True) + EPSILON)
        if self.has_classes:
            assert label is not None
            latent = torch.cat([latent, F.embedding(label.flatten(), self.classes)], 1)
        w: torch.Tensor = self.layers(latent)
        return w


class _Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int, slope: float) -> None:
        super().__init__()
        self.linear, self.slope = nn.Linear(inputs, outputs), slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(self.linear(x), self.slope)


class Truncation(Float32):
    """w [N, w_dim] and psi [N, 1] -> what lies psi times as far from the mean of w; Karras et al. 2019, appendix B."""

    mean: torch.Tensor

    def __init__(self, config: StyleGan2Config) -> None:
        super().__init__()
        self.register_buffer("mean", torch.empty(config.w_dim))

    def forward(self, w: torch.Tensor, psi: torch.Tensor) -> torch.Tensor:
        return self.mean + psi * (w - self.mean)


class Styles(Float32):
    """The styles of all layers, by one product for those that truncation holds for, and one for the others."""

    def __init__(self, config: StyleGan2Config, cutoff: int) -> None:
        super().__init__()
        self.widths = [layer.inputs for layer in layers(config)]
        self.rows = sum(layer.inputs for layer in layers(config) if layer.w < cutoff)
        self.weight = nn.Parameter(torch.empty(sum(self.widths), config.w_dim))
        self.bias = nn.Parameter(torch.empty(sum(self.widths)))

    def forward(self, near: torch.Tensor, w: torch.Tensor) -> Sequence[torch.Tensor]:
        """[N, inputs] of each layer, from w drawn near to its mean, and from w."""
        rows, parts = self.rows, []
        if rows:
            parts.append(F.linear(near, self.weight[:rows], self.bias[:rows]))
        if rows < len(self.bias):
            parts.append(F.linear(w, self.weight[rows:], self.bias[rows:]))
        return torch.split(torch.cat(parts, 1), self.widths, 1)


class Synthesis(nn.Module):
    """Styles -> images: that of each block that makes one, or else its features; the last is x_0 [N, C, H, W]."""

    def __init__(self, config: StyleGan2Config, noise: Noise) -> None:
        super().__init__()
        self.names = [block.name for block in blocks(config)]
        for block in blocks(config):
            setattr(self, block.name, _SynthesisBlock(config, block, noise))

    def forward(self, styles: Sequence[torch.Tensor], noises: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        style, noise = iter(styles), iter(noises)
        x: torch.Tensor | None = None
        image: torch.Tensor | None = None
        shown = []
        for name in self.names:
            x, image = getattr(self, name)(x, image, style, noise)
            assert x is not None
            shown.append(x if image is None else image)
        return shown


class _SynthesisBlock(nn.Module):
    """Features and image of the block before, None at the first, -> those at its size."""

    const: torch.Tensor
    conv0: StyledConv
    conv1: StyledConv
    torgb: ToImage

    def __init__(self, config: StyleGan2Config, block: Block, noise: Noise) -> None:
        super().__init__()
        self.has_image, self.is_first = block.has_image, not block.inputs
        self.is_summed = block.is_summed
        if self.is_first:
            self.register_buffer("const", torch.empty(1, block.outputs, block.size, block.size))
        for layer in block.layers:
            share = 0.5**0.5 if self.is_summed and not layer.up else 1.0
            made = ToImage(config, layer) if layer.is_rgb else StyledConv(config, layer, noise, share)
            setattr(self, layer.name.rpartition(".")[2], made)
        if self.is_summed:
            self.skip = Skip(config, block)
        if block.enlarges_image:
            self.sum = ImageSum(config)

    def forward(
        self,
        x: torch.Tensor | None,
        image: torch.Tensor | None,
        style: Iterator[torch.Tensor],
        noise: Iterator[torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.is_first:
            x = self.conv1(self.const, next(style), noise)
        else:
            assert x is not None
            before = x
            x = self.conv1(self.conv0(before, next(style), noise), next(style), noise)
            if self.is_summed:
                x = self.skip(before) + x
        assert x is not None
        if self.has_image:
            here = self.torgb(x, next(style))
            image = here if image is None else self.sum(image, here)
        return x, image


class StyledConv(nn.Module):
    """A convolution with a style: modulation, convolution, and demodulation, noise, bias and activation in one.

    Args:
        share: of a sum that the output goes into, by which it is cut off sooner.
    """

    limit: torch.Tensor

    def __init__(self, config: StyleGan2Config, layer: Layer, noise: Noise, share: float = 1.0) -> None:
        super().__init__()
        self.slope = SLOPES[config.activation]
        self.register_buffer("limit", torch.full((1,), clamp(config) * share), persistent=False)
        self.demodulation = Demodulation(layer)
        self.conv = UpConv(config, layer) if layer.up else Conv(layer)
        self.noise = LayerNoise(layer, noise if config.use_noise else "none")
        self.bias = nn.Parameter(torch.empty(layer.outputs))

    def forward(self, x: torch.Tensor, style: torch.Tensor, noises: Iterator[torch.Tensor]) -> torch.Tensor:
        scale, demodulation = self.demodulation(style)
        x = x.to(self.conv.weight.dtype)
        x = self.conv(x * torch.unflatten(scale, 1, (-1, 1, 1)).to(x.dtype))
        return style_lrelu(x, demodulation, self.noise(noises), self.bias, self.limit, self.slope)


class Demodulation(Float32):
    """A style [N, I] -> what the input is multiplied by, at most 1 [N, I], and what the output is [N, O]."""

    squares: torch.Tensor
    epsilon: torch.Tensor

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.register_buffer("squares", torch.empty(layer.inputs, layer.outputs))
        self.register_buffer("epsilon", torch.empty(layer.outputs))

    def forward(self, style: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        largest = style.abs().amax(1, keepdim=True).clamp(min=TINY)
        scale = style / largest
        return scale, torch.rsqrt((scale * scale) @ self.squares + self.epsilon / (largest * largest))


class Conv(nn.Module):
    """A 3x3 convolution."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layer.outputs, layer.inputs, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight, padding=1)


class UpConv(nn.Module):
    """A 3x3 convolution of an image with a zero after each pixel, and a filter."""

    filter: torch.Tensor

    def __init__(self, config: StyleGan2Config, layer: Layer) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layer.inputs, layer.outputs, 3, 3))
        self.register_buffer("filter", torch.empty(layer.outputs, 1, config.filter_width, config.filter_width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        doubled = F.conv_transpose2d(x, self.weight, stride=2)
        channels, _, width, _ = self.filter.shape
        return F.conv2d(doubled, self.filter, padding=width // 2 - 1, groups=channels)


class LayerNoise(Float32):
    """What is added to every channel alike, [1 or N, 1, H, W]: the snapshot's own picture, one of the seed, or zero."""

    factor: torch.Tensor

    def __init__(self, layer: Layer, kind: Noise) -> None:
        super().__init__()
        self.kind = kind
        if kind == "none":
            self.register_buffer("factor", torch.zeros(1, 1, 1, 1), persistent=False)
        else:
            shape = (1, 1, layer.size, layer.size) if kind == "const" else ()
            self.register_buffer("factor", torch.empty(shape))

    def forward(self, noises: Iterator[torch.Tensor]) -> torch.Tensor:
        return next(noises) * self.factor if self.kind == "random" else self.factor


class ToImage(nn.Module):
    """Features [N, I, H, W] and a style [N, I] -> an image [N, C, H, W], float32."""

    def __init__(self, config: StyleGan2Config, layer: Layer) -> None:
        super().__init__()
        self.modulation = ImageModulation(layer)
        self.image = ImageBias(config, layer)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = self.image(torch.matmul(self.modulation(style).to(x.dtype), x.flatten(2)))
        return image


class ImageModulation(Float32):
    """A style [N, I] -> the weights of a 1x1 convolution [N, C, I]: so few that no features need be multiplied."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layer.outputs, layer.inputs))

    def forward(self, style: torch.Tensor) -> torch.Tensor:
        return torch.unflatten(style, 1, (1, -1)) * self.weight


class ImageBias(Float32):
    """Pixels in a row [N, C, H * W] -> the image in float32."""

    def __init__(self, config: StyleGan2Config, layer: Layer) -> None:
        super().__init__()
        self.size, self.limit = layer.size, config.conv_clamp
        self.bias = nn.Parameter(torch.empty(layer.outputs, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        image = pixels.float() + self.bias
        if self.limit is not None:
            image = image.clamp(-self.limit, self.limit)
        return torch.unflatten(image, 2, (self.size, self.size))


class ImageSum(Float32):
    """The image so far, doubled by a filter, and that of this size on top."""

    filter: torch.Tensor

    def __init__(self, config: StyleGan2Config) -> None:
        super().__init__()
        self.register_buffer("filter", torch.empty(config.num_channels, 1, config.filter_width, config.filter_width))

    def forward(self, image: torch.Tensor, here: torch.Tensor) -> torch.Tensor:
        return doubled(image, self.filter) + here


class Skip(nn.Module):
    """The features of the block before, by a 1x1 convolution, doubled by a filter."""

    filter: torch.Tensor

    def __init__(self, config: StyleGan2Config, block: Block) -> None:
        super().__init__()
        self.conv = nn.Conv2d(block.inputs, block.outputs, 1, bias=False)
        self.register_buffer("filter", torch.empty(block.outputs, 1, config.filter_width, config.filter_width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return doubled(self.conv(x.to(self.conv.weight.dtype)), self.filter)


def doubled(x: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """[N, C, H, W] -> [N, C, 2H, 2W] by a filter [C, 1, width, width]."""
    channels, _, width, _ = taps.shape
    return F.conv_transpose2d(x, taps, stride=2, padding=width // 2 - 1, groups=channels)


def clamp(config: StyleGan2Config) -> float:
    """At which a convolution's output is cut off; the largest float32 where it is not."""
    return torch.finfo(torch.float32).max if config.conv_clamp is None else config.conv_clamp
