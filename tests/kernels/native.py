"""Runs one fused op by the native library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from ddgan_deploy.kernels.op import OpSpec

ISAS = ["generic", "avx2", "avx512"]
DOT_ISAS = ["generic", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "amx"]
"""Products of 8-bit integers and of bfloat16 have more."""


class Native:
    """The native library, loaded once and for as long as this lives.

    Raises:
        Exception: ONNX Runtime cannot load it.
    """

    def __init__(self, library: Path) -> None:
        self._path = library
        # ONNX Runtime unloads it with the last options that name it; loaded anew, it would choose anew.
        self._loaded = self._options()

    def session(self, model: onnx.ModelProto | Path, threads: int = 2, **settings: object):
        """A session that has the native ops."""
        options = self._options()
        options.intra_op_num_threads = threads
        for name, value in settings.items():
            setattr(options, name, value)
        source = str(model) if isinstance(model, Path) else model.SerializeToString()
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def run(self, spec: OpSpec, inputs: Sequence[np.ndarray], threads: int = 2, **attributes: object) -> np.ndarray:
        """The output of one op."""
        from tests.kernels.conftest import op_model

        session = self.session(op_model(spec, inputs, **attributes), threads)
        return session.run(None, {name: value for (name, _), value in zip(spec.inputs, inputs, strict=True)})[0]

    def _options(self):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # Every tensor its own allocation: a sanitizer sees what runs over its end.
        options.enable_cpu_mem_arena = False
        options.register_custom_ops_library(str(self._path))
        return options
