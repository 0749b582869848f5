"""An ADM's UNet within a step of a sampler's graph.

What time says is a constant of each step, and so are all styles where no class adds to it. With classes they are a
product at every step, of that constant and what the image's class says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from torch import nn

from ddgan_deploy.export.graph.steps import SamplerBuilder, Step
from ddgan_deploy.export.graph.trace import LAYER, trace
from ddgan_deploy.families.adm.network import Encoder, UNet

Float32 = npt.NDArray[np.float32]
Times = Sequence[float]
"""What the network is given for time, step by step."""
Part = Callable[[ir.Value, Step], ir.Value]
"""From the state, within a step."""
Styles = Callable[[Step], list[ir.Value]]
"""What a network's residual blocks are told within a step; see `Encoder.styles`."""
BATCH = torch.export.Dim("batch")


def denoiser(build: SamplerBuilder, unet: UNet, times: Times) -> Part:
    """The UNet's output [N, 3 or 6, H, W]."""
    config, inputs = unet.config, build.inputs
    seen = []
    if config.small_size:
        # The same at all steps.
        example = torch.zeros(2, 3, config.small_size, config.small_size)
        enlarged = trace(_SeenLowRes(unet), (example,), ({0: BATCH},), "unet.")
        seen = build.copy(enlarged.graph, [inputs["low_res"]])
    styles = _class_styles(build, unet, times) if config.num_classes else constant_styles(unet, times)
    rows = 2 if config.num_classes else 1
    examples = [torch.zeros(2, *config.image_shape), [torch.zeros(rows, width) for width in unet.style_widths]]
    dynamic = [{0: BATCH}, [{0: BATCH} if config.num_classes else {} for _ in unet.style_widths]]
    if seen:
        examples.append(torch.zeros(2, config.widths[0], *config.image_shape[1:]))
        dynamic.append({0: BATCH})
    network = trace(_Denoise(unet), tuple(examples), tuple(dynamic), "unet.").graph
    layers = float32_layers(unet)

    def denoise(x: ir.Value, step: Step) -> ir.Value:
        (out,) = step.copy(network, [x, *styles(step), *seen], float32=layers)
        return out

    return denoise


def constant_styles(network: Encoder, times: Times, name: str = "styles") -> Styles:
    """Of time alone, each [1, C]: rows of tables."""
    with torch.no_grad():
        tables = [each.numpy()[:, None] for each in network.styles(_embedded(network, times))]
    return lambda step: step.rows(name, tables)


def _class_styles(build: SamplerBuilder, unet: UNet, times: Times) -> Styles:
    """Of time and class, each [N, C]: pieces of one product."""
    classes = trace(_OfClass(unet), (torch.zeros(2, 1, dtype=torch.int64),), ({0: BATCH},), "unet.").graph
    (of_class,) = build.copy(classes, [build.inputs["label"]], float32=["label_emb"])
    width = unet.config.embedding
    embedded = trace(_Styles(unet), (torch.zeros(1, width), torch.zeros(2, width)), ({}, {0: BATCH}), "unet.").graph
    with torch.no_grad():
        rows = _embedded(unet, times).numpy()[:, None]

    layers = {node.metadata_props[LAYER] for node in embedded}

    def styles(step: Step) -> list[ir.Value]:
        (found,) = step.copy(embedded, [step.row("time", rows, float32=True), of_class], float32=layers)
        return step.split(found, unet.style_widths, name="styles", float32=True)

    return styles


def float32_layers(network: Encoder, prefix: str = "") -> set[str]:
    """What the published code has in float32 where it has the blocks' convolutions in float16."""
    names = (
        name for name, module in network.named_modules() if name.startswith("out.") or isinstance(module, nn.Softmax)
    )
    return {f"{prefix}{name}" for name in names}


def table(rows: object) -> Float32:
    """[T, n], n of them a step."""
    found = np.array(rows, np.float32)
    return found.reshape(len(found), -1)


def _embedded(network: Encoder, times: Times) -> torch.Tensor:
    """Of all steps, [T, embedding]."""
    return network.embed_time(torch.tensor(times, dtype=torch.float32))


class _Denoise(nn.Module):
    """`UNet` with what an upsampler is given as an input that may not be there."""

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: torch.Tensor, styles: list[torch.Tensor], seen: torch.Tensor | None = None) -> torch.Tensor:
        out: torch.Tensor = self.unet(x, styles, seen)
        return out


class _SeenLowRes(nn.Module):
    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, low_res: torch.Tensor) -> torch.Tensor:
        return self.unet.see_low_res(low_res)


class _OfClass(nn.Module):
    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.label_emb = unet.label_emb

    def forward(self, label: torch.Tensor) -> torch.Tensor:
        embedding: torch.Tensor = self.label_emb(label[:, 0])
        return embedding


class _Styles(nn.Module):
    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.style = unet.style

    def forward(self, of_time: torch.Tensor, of_class: torch.Tensor) -> torch.Tensor:
        styles: torch.Tensor = self.style(nn.functional.silu(of_time + of_class))
        return styles
