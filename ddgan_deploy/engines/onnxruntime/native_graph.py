"""A graph as ONNX Runtime's CPU provider runs it with the native library.

The files keep the nodes that every runtime knows; the engine rewrites a graph in memory when it opens it. float16
becomes float32 (`widened`), and transposed convolutions of stride 1 the convolutions that they are (`transposed`).
Quantized convolutions, and others where bfloat16 will do, become products of low precision (`packed_conv`), the weights
of those that do not are float32 (`dequantized`), and what then is left of 3x3 convolutions Winograd's (`conv3x3`).
Filters that resample by two are no convolutions of channels (`resample`), and self-attention is one node that never has
its scores in memory (`attention`).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ddgan_deploy.engines.onnxruntime.attention import fuse_attention
from ddgan_deploy.engines.onnxruntime.conv3x3 import specialize
from ddgan_deploy.engines.onnxruntime.dequantized import dequantize_weights
from ddgan_deploy.engines.onnxruntime.graph import infer
from ddgan_deploy.engines.onnxruntime.packed_conv import pack_convolutions
from ddgan_deploy.engines.onnxruntime.resample import resample
from ddgan_deploy.engines.onnxruntime.transposed import untranspose
from ddgan_deploy.engines.onnxruntime.weights import Weights
from ddgan_deploy.engines.onnxruntime.widened import widen
from ddgan_deploy.processor import has_exact_int8

_MACHINES = ("x86_64", "AMD64")
"""Where it was measured to be faster than ONNX Runtime's own convolution, on each instruction set."""


class NativeGraph(NamedTuple):
    """What a session is made of.

    Attributes:
        model: the file as it is, where nothing was rewritten, or a serialized model.
        files: what the model has in external files that exist in memory alone.
    """

    model: Path | bytes
    files: Mapping[str, npt.NDArray[np.generic]] = {}


def native_graph(model: Path | bytes, folder: Path | None, bfloat16: bool = False) -> NativeGraph:
    """The model with its nodes rewritten; or the model itself where nothing is, or it cannot be read.

    Args:
        model: a file, or a serialized model.
        folder: where its external weights lie.
        bfloat16: whether products of float32 may be of bfloat16.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if platform.machine() not in _MACHINES:
        return NativeGraph(model)
    try:
        content = model if isinstance(model, bytes) else model.read_bytes()
        proto = onnx.load_model_from_string(content)
        weights = Weights(proto, folder)
        count = widen(proto, weights)
        count += untranspose(proto, weights)
        inferred = infer(proto)
        shapes = inferred.shapes
        count += pack_convolutions(proto, weights, shapes, has_exact_int8(), bfloat16)
        count += dequantize_weights(proto, weights)
        count += resample(proto, weights, shapes)
        count += specialize(proto, shapes)
        count += fuse_attention(proto, inferred)
        weights.forget_unread()
    except (OSError, DecodeError, ValueError):
        # ONNX Runtime says what is wrong with it.
        return NativeGraph(model)
    return NativeGraph(proto.SerializeToString(), weights.made) if count else NativeGraph(model)
