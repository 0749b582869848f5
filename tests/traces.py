"""Keeps what torch.onnx.export makes of a module: most of an export's time, and the same for one architecture.

A trace follows from the module's structure and the shapes of its inputs; weights are put in afterwards. A test that
patches how a module computes needs a type of its own, else it may get the graph of the honest one.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import os
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch import nn
from torch.utils import _pytree

from tests.locks import locked

_OWN = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
"""What a module keeps its tensors and parts in, which are named one by one."""


def _structure(module: nn.Module) -> Iterator[str]:
    """All that a trace can depend on but the values of weights and buffers."""
    for name, part in module.named_modules():
        yield f"{name} {type(part).__module__}.{type(part).__qualname__}"
        yield from (f".{key} {value!r}" for key, value in sorted(vars(part).items()) if key not in _OWN)
    for name, tensor in _tensors(module).items():
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)} {type(tensor).__name__}"


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))


def key(module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    """A name for the trace, or None where something in it has no other name than its address."""
    leaves, tree = _pytree.tree_flatten(inputs)
    parts = [*_structure(module), repr(tree)]
    parts += [f"{leaf.dtype} {tuple(leaf.shape)}" if isinstance(leaf, torch.Tensor) else repr(leaf) for leaf in leaves]
    # Ours has one function an op, which stand in one file.
    parts += [f"{name} {value!r}" for name, value in sorted(options.items()) if name != "custom_translation_table"]
    text = "\n".join(parts)
    return None if " at 0x" in text else hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _know_operators() -> None:
    """Has PyTorch work out what ONNX has for its operators once in a process instead of at every export."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    known = functools.cache(ONNXRegistry.from_torchlib)

    def registry(**options: Any) -> ONNXRegistry:
        made = copy.copy(known(**options))
        # An export adds its own.
        made.functions = {operator: list(ours) for operator, ours in made.functions.items()}
        return made

    ONNXRegistry.from_torchlib = staticmethod(registry)  # type: ignore[assignment, method-assign]


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[None]:
    """In the block a module is traced only if no other of its structure was, in any process that uses the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    before = torch.onnx.export
    # Within another such block: what it replaced.
    honest = getattr(before, "honest", before)

    def exported(module: Any, inputs: tuple[Any, ...] = (), **options: Any) -> Any:
        _know_operators()
        name = key(module, inputs, options) if isinstance(module, nn.Module) else None
        if name is None:
            return honest(module, inputs, **options)
        path = folder / f"{name}.onnx"
        with locked(path.with_suffix(".lock")):
            if not path.exists():
                program = honest(module, inputs, **options)
                assert program is not None
                # Whole or not at all, for this may be interrupted.
                partial = path.with_suffix(f".{os.getpid()}")
                partial.write_bytes(ir.to_proto(program.model).SerializeToString())
                partial.replace(path)
                return program
        model = ir.from_proto(onnx.load_from_string(path.read_bytes()))
        weights = _tensors(module)
        for weight, value in model.graph.initializers.items():
            if weight in weights:
                value.const_value = ir.tensor(weights[weight].detach().numpy(), name=weight)
        return types.SimpleNamespace(model=model)

    exported.honest = honest
    torch.onnx.export = exported
    try:
        yield
    finally:
        torch.onnx.export = before
