"""One engine file on the GPU: its memory and, for every batch size, a context and a CUDA graph."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.manifest import GraphInfo, TensorInfo
from ddgan_deploy.engines.tensorrt.device import CudaDevice
from ddgan_deploy.errors import GateError

if TYPE_CHECKING:
    import torch

KEPT_BATCH_SIZES = 8
"""Batch sizes whose context and CUDA graph are kept."""
_PROFILE = 0


class PlanErrors:
    """TensorRT's error messages since they were last taken, to be fed by a logger."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, message: str) -> None:
        """Notes one message; the first of a failure tells most, so a few are enough."""
        if len(self._lines) < 16:
            self._lines.append(" ".join(message.split()))

    def take(self) -> str:
        """The first message, or "no reason is given"; forgets all."""
        first = self._lines[0] if self._lines else "no reason is given"
        self._lines.clear()
        return first


@dataclass
class _Tensor:
    """An input or output on the GPU and on the host, for the largest batch."""

    name: str
    gpu: torch.Tensor
    host: torch.Tensor

    @property
    def row(self) -> tuple[int, ...]:
        """The shape but for the batch."""
        return tuple(self.gpu.shape[1:])

    def rows(self, batch: int) -> npt.NDArray[Any]:
        """So many rows of the memory on the host."""
        rows: npt.NDArray[Any] = self.host.numpy()[:batch]
        return rows

    def free(self) -> None:
        """Lets go of the memory, also where the traceback of a failed run still knows this object."""
        del self.gpu, self.host


class LoadedPlan:
    """A deserialized engine with all the memory that it will ever need.

    Runs one batch at a time: the caller sees to it that no two threads are in here, and that
    the device is active.

    Args:
        trt: TensorRT's Python module, or TensorRT-RTX's.
        engine: its ICudaEngine.
        graph: its inputs and outputs.
        device: where it runs; to be closed after this.
        errors: what TensorRT logs.
        specialized: TensorRT-RTX: compile the kernels for each batch size before its first run.

    Raises:
        InputError: the GPU has not enough memory.
    """

    def __init__(
        self, trt: Any, engine: Any, graph: GraphInfo, device: CudaDevice, errors: PlanErrors, specialized: bool
    ) -> None:
        self._trt, self._engine, self._device, self._errors = trt, engine, device, errors
        self._specialized = specialized
        self._batches: OrderedDict[int, _Batch] = OrderedDict()
        self._inputs: list[_Tensor] = []
        self._outputs: list[_Tensor] = []
        self._scratch: torch.Tensor | None = None
        try:
            profiles = [engine.get_tensor_profile_shape(info.name, _PROFILE) for info in graph.inputs]
            # The first number of an input's least and largest shape; all inputs have the same.
            self.least, self.most = profiles[0][0][0], profiles[0][2][0]
            self._inputs = [self._tensor(info) for info in graph.inputs]
            self._outputs = [self._tensor(info) for info in graph.outputs]
            # Shared by all contexts, of which one runs at a time.
            self._scratch_size = int(engine.device_memory_size_v2)
            self._scratch = device.on_gpu((max(self._scratch_size, 1),), "uint8")
            self._scratch_address = self._scratch.data_ptr()
        except BaseException:
            self.close()
            raise

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The output of any number of rows, in as few batches as the engine allows.

        Raises:
            GateError: TensorRT could not run it.
        """
        count = len(next(iter(inputs.values())))
        (output,) = self._outputs
        results = np.empty_like(output.rows(0), shape=(count, *output.row))
        for start in range(0, count, self.most):
            rows = slice(start, min(start + self.most, count))
            self._run_batch({name: values[rows] for name, values in inputs.items()}, output, results[rows])
        return results

    def close(self) -> None:
        """Frees the graphs, the contexts, the engine, and then their memory; the stream is idle."""
        while self._batches:
            self._batches.popitem()[1].close()
        self._engine = None
        for tensor in (*self._inputs, *self._outputs):
            tensor.free()
        self._inputs, self._outputs, self._scratch = [], [], None

    def _run_batch(self, inputs: Mapping[str, npt.NDArray[Any]], output: _Tensor, results: npt.NDArray[Any]) -> None:
        batch = max(len(results), self.least)
        for tensor in self._inputs:
            rows = tensor.rows(batch)
            rows[: len(results)] = inputs[tensor.name]
            # An engine that takes no smaller batch draws the last row several times.
            rows[len(results) :] = inputs[tensor.name][-1]
        self._batch(batch).run()
        results[:] = output.rows(batch)[: len(results)]

    def _batch(self, size: int) -> _Batch:
        if size not in self._batches:
            if len(self._batches) == KEPT_BATCH_SIZES:
                self._batches.popitem(last=False)[1].close()
            self._batches[size] = _Batch(
                self._new_context(size), self._inputs, self._outputs, size, self._device, self._errors
            )
        self._batches.move_to_end(size)
        return self._batches[size]

    def _new_context(self, size: int) -> Any:
        self._errors.take()
        context = self._engine.create_execution_context(self._context_options())
        if context is None:
            raise GateError(f"TensorRT has no context for a batch of {size}: {self._errors.take()}")
        context.set_device_memory(self._scratch_address, self._scratch_size)
        for tensor in self._inputs:
            if not context.set_input_shape(tensor.name, (size, *tensor.row)):
                raise GateError(f"TensorRT does not take a batch of {size}: {self._errors.take()}")
        for tensor in (*self._inputs, *self._outputs):
            if not context.set_tensor_address(tensor.name, tensor.gpu.data_ptr()):
                raise GateError(f"TensorRT does not take memory for {tensor.name}: {self._errors.take()}")
        return context

    def _context_options(self) -> Any:
        """Memory that is ours and, for TensorRT-RTX, kernels that are those of the captured graph for good."""
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not self._specialized:
            return strategy
        options = self._engine.create_runtime_config()
        options.set_execution_context_allocation_strategy(strategy)
        # By default a fallback kernel runs until another thread has compiled a better one; a graph would keep it.
        eager = self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
        options.dynamic_shapes_kernel_specialization_strategy = eager
        return options

    def _tensor(self, info: TensorInfo) -> _Tensor:
        shape = (self.most, *(int(size) for size in info.shape[1:]))
        return _Tensor(info.name, self._device.on_gpu(shape, info.dtype), self._device.on_host(shape, info.dtype))


class _Batch:
    """An engine at one batch size: run once as it is, then captured in a CUDA graph that later runs replay.

    It has a context of its own, since a graph holds the addresses and shapes it was captured with, and
    since TensorRT 11.1 and 11.2 leak the CUDA modules of ahead-of-time compiled plugins whenever the
    shapes of one context change (issue 4849 of NVIDIA/TensorRT).
    """

    def __init__(
        self,
        context: Any,
        inputs: Sequence[_Tensor],
        outputs: Sequence[_Tensor],
        size: int,
        device: CudaDevice,
        errors: PlanErrors,
    ) -> None:
        self._context, self._inputs, self._outputs, self._size = context, inputs, outputs, size
        self._device, self._errors = device, errors
        self._graph: torch.cuda.CUDAGraph | None = None
        self._tried = False

    def run(self) -> None:
        """Inputs from the host's memory, output to the host's memory."""
        if self._graph is not None:
            self._graph.replay()
        else:
            self._enqueue()
        self._device.synchronize()
        if not self._tried:
            self._tried = True
            # TensorRT does at its first run what cannot be captured. Without a graph it runs all the same.
            self._graph = self._device.capture(self._enqueue)
            self._errors.take()

    def close(self) -> None:
        """Frees the graph, then the context; the stream is idle between runs."""
        if self._graph is not None:
            self._graph.reset()
        self._graph = self._context = None

    def _enqueue(self) -> None:
        for tensor in self._inputs:
            self._device.copy(tensor.gpu[: self._size], tensor.host[: self._size])
        if not self._context.execute_async_v3(self._device.stream):
            raise GateError(f"TensorRT could not run a batch of {self._size}: {self._errors.take()}")
        for tensor in self._outputs:
            self._device.copy(tensor.host[: self._size], tensor.gpu[: self._size])


def tensor_mismatch(trt: Any, engine: Any, graph: GraphInfo) -> str:
    """How an engine's inputs and outputs differ from those of a graph, or nothing."""
    expected = {
        (info.name, mode, info.dtype)
        for mode, infos in ((trt.TensorIOMode.INPUT, graph.inputs), (trt.TensorIOMode.OUTPUT, graph.outputs))
        for info in infos
    }
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    found = {
        (name, engine.get_tensor_mode(name), np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name) for name in names
    }
    if found == expected:
        return ""
    return "its inputs and outputs are not those of the graph, but " + ", ".join(sorted(names))
