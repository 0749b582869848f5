"""Runs one fused op: by its ONNX function body on stock ONNX Runtime, or by the native library."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from ddgan_deploy.kernels.op import OpSpec
from tests.kernels.native import DOT_ISAS, ISAS, Native


@pytest.fixture(scope="session", autouse=True)
def _interpreter() -> Iterator[None]:
    """Triton's interpreter prepares its language once for each launch instead of at every call inside of it.

    A third of its time; to prepare what is prepared changes nothing.
    """
    if importlib.util.find_spec("triton") is None:
        yield
        return
    from triton.runtime import interpreter

    prepare, launch, prepared = interpreter._patch_lang, interpreter.GridExecutor.__call__, set[int]()
    prepare_tensor = interpreter._patch_lang_tensor

    def prepare_once(function: Callable[..., object]) -> object:
        # By the module whose function it is, for its globals name the language.
        place = id(function.__globals__)
        if place in prepared:
            return interpreter._LangPatchScope()
        prepared.add(place)
        return prepare(function)

    def with_index(tensor: Any, scope: Any) -> None:
        prepare_tensor(tensor, scope)
        # Triton 3.6 has NumPy make a number of an array of one element, which it refuses from 2.5 on.
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    def launching(*args: object, **options: object) -> object:
        prepared.clear()
        try:
            return launch(*args, **options)
        finally:
            prepared.clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "_patch_lang", prepare_once)
        patch.setattr(interpreter, "_patch_lang_tensor", with_index)
        patch.setattr(interpreter.GridExecutor, "__call__", launching)
        yield


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)], ids=["interpreter", "gpu"])
def device(request: pytest.FixtureRequest) -> str:
    """Where Triton-language kernels run: in the interpreter, or on a GPU."""
    return request.param


def op_model(spec: OpSpec, inputs: Sequence[np.ndarray], **attributes: object) -> onnx.ModelProto:
    """A model of one node that carries its own definition."""
    return spec.model([(helper.np_dtype_to_tensor_dtype(value.dtype), value.ndim) for value in inputs], **attributes)


def run_body(spec: OpSpec, inputs: Sequence[np.ndarray], **attributes: object) -> np.ndarray:
    """The op's output by its function body."""
    model = op_model(spec, inputs, **attributes)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {name: value for (name, _), value in zip(spec.inputs, inputs, strict=True)}
    return session.run(None, feeds)[0]


@pytest.fixture(scope="session", params=ISAS)
def native(request: pytest.FixtureRequest, library: Path, tmp_path_factory: pytest.TempPathFactory) -> Native:
    """The native library with each instruction set in turn."""
    return _native(request.param, library, tmp_path_factory)


@pytest.fixture(scope="session", params=DOT_ISAS)
def dots(request: pytest.FixtureRequest, library: Path, tmp_path_factory: pytest.TempPathFactory) -> Native:
    """The same with each set of instructions for products of low precision."""
    return _native(request.param, library, tmp_path_factory)


def _native(isa: str, library: Path, tmp_path_factory: pytest.TempPathFactory) -> Native:
    """A library chooses when it is loaded; a copy under another name is another library."""
    copy = tmp_path_factory.mktemp("native") / f"{isa}.so"
    shutil.copy(library, copy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDGAN_ISA", isa)
        try:
            return Native(copy)
        except Exception as error:  # ONNX Runtime's own errors share no base class
            if "this machine has" not in str(error):
                raise
            pytest.skip(str(error))
