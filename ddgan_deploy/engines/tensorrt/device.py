"""The little that an engine needs of a GPU, on PyTorch's CUDA API, which is imported at first use."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    import torch

_MIB = 2**20
_CAPTURING = threading.Lock()


class Memory(Protocol):
    """Memory of the GPU.

    Attributes:
        address: on the GPU, a multiple of 256.
    """

    address: int


class Buffer(Memory, Protocol):
    """A tensor's memory, twice: on the GPU, and as page-locked memory on the host.

    Attributes:
        host: uint8 [size], free to read and write while the stream is idle.
    """

    host: npt.NDArray[np.uint8]

    def upload(self, size: int) -> None:
        """Enqueues the copy of the first bytes from the host to the GPU."""
        ...

    def download(self, size: int) -> None:
        """Enqueues the copy of the first bytes from the GPU to the host."""
        ...


class Graph(Protocol):
    """Work that was captured in a CUDA graph."""

    def replay(self) -> None:
        """Enqueues the work."""
        ...

    def close(self) -> None:
        """Frees the graph; the stream must be idle."""
        ...


class CudaDevice(Protocol):
    """A GPU with a stream of one's own, and what was allocated on it.

    Attributes:
        name: of the GPU.
        compute_capability: such as "8.9".
        driver: its version, such as "580.65.06"; None where it cannot be told.
        stream: the integer handle of the stream, on which all work is enqueued.
    """

    name: str
    compute_capability: str
    driver: str | None
    stream: int

    def active(self) -> contextlib.AbstractContextManager[None]:
        """Makes this GPU and this stream the current ones of the thread; everything else is called inside it."""
        ...

    def allocate(self, size: int) -> Memory:
        """Memory of the GPU alone, in bytes.

        Raises:
            InputError: the GPU has not enough.
        """
        ...

    def buffer(self, size: int) -> Buffer:
        """Memory of the GPU and of the host, in bytes.

        Raises:
            InputError: the GPU has not enough.
        """
        ...

    def capture(self, work: Callable[[], None]) -> Graph | None:
        """Records what ``work`` enqueues, without running it; None where that is not possible."""
        ...

    def synchronize(self) -> None:
        """Waits until the stream is idle."""
        ...

    def close(self) -> None:
        """Frees all memory."""
        ...


def has_gpu() -> bool:
    """Whether there are a driver and a GPU; imports nothing, and costs nothing where there is no driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def driver_version() -> str | None:
    """The version of NVIDIA's driver, such as "580.65.06"; None where its management library is not there."""
    try:
        library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return None
    if library.nvmlInit_v2() != 0:
        return None
    text = ctypes.create_string_buffer(80)
    known = library.nvmlSystemGetDriverVersion(text, len(text)) == 0
    library.nvmlShutdown()
    return text.value.decode() if known else None


def require_gpu(engine: str) -> None:
    """Refuses an engine that needs a GPU where there is none.

    Raises:
        InputError: there is no GPU or no driver.
    """
    if not has_gpu():
        raise InputError(
            f"engine {engine} needs an NVIDIA GPU and its driver, and here is none: choose --engine onnxruntime"
        )


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
    return TorchDevice()


class TorchDevice:
    """The thread's current GPU by PyTorch; see `CudaDevice`.

    Memory comes from PyTorch's allocators, which align to 512 bytes.
    """

    def __init__(self) -> None:
        import torch

        index = torch.cuda.current_device()
        self.name = torch.cuda.get_device_name(index)
        self.compute_capability = "{}.{}".format(*torch.cuda.get_device_capability(index))
        self.driver = driver_version()
        self._stream = torch.cuda.Stream(index)  # type: ignore[no-untyped-call]
        self.stream = int(self._stream.cuda_stream)
        self._allocated: list[_TorchMemory] = []

    def active(self) -> contextlib.AbstractContextManager[None]:
        """As `CudaDevice.active`."""
        import torch

        return torch.cuda.stream(self._stream)

    def allocate(self, size: int) -> Memory:
        """As `CudaDevice.allocate`."""
        memory = _TorchMemory(self._bytes(size))
        self._allocated.append(memory)
        return memory

    def buffer(self, size: int) -> Buffer:
        """As `CudaDevice.buffer`."""
        import torch

        buffer = _TorchBuffer(self._bytes(size), torch.empty(size, dtype=torch.uint8, pin_memory=True))
        self._allocated.append(buffer)
        return buffer

    def capture(self, work: Callable[[], None]) -> Graph | None:
        """As `CudaDevice.capture`."""
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
        return _TorchGraph(graph)

    def synchronize(self) -> None:
        """As `CudaDevice.synchronize`."""
        self._stream.synchronize()

    def close(self) -> None:
        """As `CudaDevice.close`; PyTorch gives back to the driver what it keeps for later."""
        import torch

        for memory in self._allocated:
            memory.free()
        self._allocated.clear()
        # Once a capture has failed, PyTorch before 2.12 refuses this with an internal assertion.
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()

    def _bytes(self, size: int) -> torch.Tensor:
        import torch

        try:
            return torch.empty(size, dtype=torch.uint8, device=self._stream.device)
        except torch.OutOfMemoryError:
            free = torch.cuda.mem_get_info(self._stream.device)[0]
            raise InputError(
                f"{self.name} has {free // _MIB} MiB of memory left, the engine needs {size // _MIB} more: "
                "end what else uses the GPU, or choose --engine onnxruntime"
            ) from None


class _TorchMemory:
    def __init__(self, device: torch.Tensor) -> None:
        self.address = device.data_ptr()
        self._device: torch.Tensor | None = device

    def free(self) -> None:
        self._device = None


class _TorchBuffer(_TorchMemory):
    def __init__(self, device: torch.Tensor, pinned: torch.Tensor) -> None:
        super().__init__(device)
        self._pinned: torch.Tensor | None = pinned
        self.host: npt.NDArray[np.uint8] = pinned.numpy()

    def upload(self, size: int) -> None:
        assert self._device is not None and self._pinned is not None
        self._device[:size].copy_(self._pinned[:size], non_blocking=True)

    def download(self, size: int) -> None:
        assert self._device is not None and self._pinned is not None
        self._pinned[:size].copy_(self._device[:size], non_blocking=True)

    def free(self) -> None:
        super().free()
        self._pinned = None
        self.host = np.empty(0, np.uint8)


class _TorchGraph:
    def __init__(self, graph: torch.cuda.CUDAGraph) -> None:
        self._graph = graph

    def replay(self) -> None:
        self._graph.replay()

    def close(self) -> None:
        self._graph.reset()
