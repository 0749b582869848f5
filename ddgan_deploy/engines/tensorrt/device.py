"""The little that an engine needs of a GPU, on PyTorch's CUDA API, which is imported at first use."""

from __future__ import annotations

import contextlib
import gc
import math
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ddgan_deploy.errors import InputError
from ddgan_deploy.gpu import driver_version

if TYPE_CHECKING:
    import torch

_MIB = 2**20
_CAPTURING = threading.Lock()


def open_device(engine: str) -> CudaDevice:
    """The thread's current GPU.

    Args:
        engine: the name of the engine that needs it, for messages.

    Raises:
        InputError: PyTorch cannot use the GPU.
    """
    import torch

    if not torch.cuda.is_available():
        raise InputError(
            f"engine {engine} needs PyTorch with CUDA, and PyTorch {torch.__version__} cannot use the GPU here: "
            "install a build of PyTorch for this driver, or choose --engine onnxruntime"
        )
    return CudaDevice()


class CudaDevice:
    """The thread's current GPU with a stream of one's own.

    Its memory is that of the tensors, and goes with them. PyTorch's allocators align to 512 bytes.

    Attributes:
        name: of the GPU.
        compute_capability: such as "8.9".
        driver: its version, such as "580.65.06"; None where it cannot be told.
        stream: the integer handle of the stream, on which all work is enqueued.
    """

    def __init__(self) -> None:
        import torch

        index = torch.cuda.current_device()
        self.name = torch.cuda.get_device_name(index)
        self.compute_capability = "{}.{}".format(*torch.cuda.get_device_capability(index))
        self.driver = driver_version()
        self._stream = torch.cuda.Stream(index)  # type: ignore[no-untyped-call]
        self.stream = int(self._stream.cuda_stream)

    def active(self) -> contextlib.AbstractContextManager[None]:
        """Makes this GPU and this stream the current ones of the thread; everything else is called inside it."""
        import torch

        return torch.cuda.stream(self._stream)

    def on_gpu(self, shape: Sequence[int], dtype: str) -> torch.Tensor:
        """A tensor on the GPU, contiguous, of unknown values.

        Raises:
            InputError: the GPU has not enough memory.
        """
        import torch

        kind: torch.dtype = getattr(torch, dtype)
        try:
            return torch.empty(tuple(shape), dtype=kind, device=self._stream.device)
        except torch.OutOfMemoryError:
            free = torch.cuda.mem_get_info(self._stream.device)[0]
            size = math.prod(shape) * kind.itemsize
            raise InputError(
                f"{self.name} has {free // _MIB} MiB of memory left, the engine needs {size // _MIB} more: "
                "end what else uses the GPU, or choose --engine onnxruntime"
            ) from None

    def on_host(self, shape: Sequence[int], dtype: str) -> torch.Tensor:
        """A tensor in page-locked memory of the host; free to read and write while the stream is idle."""
        import torch

        return torch.empty(tuple(shape), dtype=getattr(torch, dtype), pin_memory=True)

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Enqueues a copy between the host and the GPU."""
        target.copy_(source, non_blocking=True)

    def capture(self, work: Callable[[], None]) -> torch.cuda.CUDAGraph | None:
        """Records what ``work`` enqueues, without running it; None where that is not possible.

        The graph's ``replay()`` enqueues the work; ``reset()`` frees it, and the stream must then be idle.
        """
        import torch

        graph = torch.cuda.CUDAGraph()
        # What garbage would free on the GPU in the middle of a capture spoils it.
        gc.collect()
        try:
            # Other threads may go on allocating memory meanwhile, but PyTorch captures one graph at a time.
            with _CAPTURING:
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    work()
                finally:
                    graph.capture_end()
        except RuntimeError:
            return None
        return graph

    def synchronize(self) -> None:
        """Waits until the stream is idle."""
        self._stream.synchronize()

    def close(self) -> None:
        """Gives the memory of tensors that are gone back to the driver, which PyTorch keeps for later."""
        import torch

        # Once a capture has failed, PyTorch before 2.12 refuses this with an internal assertion.
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()
