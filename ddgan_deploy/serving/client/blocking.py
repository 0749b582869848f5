"""A client for plain code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.address import Address
from ddgan_deploy.serving.client.asynchronous import RETRIES, AsyncClient
from ddgan_deploy.serving.client.way import Way

T = TypeVar("T")


class Client:
    """As `AsyncClient`, for plain code; any number of threads may share one.

    It runs an `AsyncClient` on a thread of its own, and does not survive a fork.
    """

    def __init__(
        self,
        url: str | Address,
        timeout: float = 60.0,
        retries: int = RETRIES,
        model: str = MODEL,
        batch: int | None = None,
    ) -> None:
        """Arguments and errors of `AsyncClient`."""
        self._client = AsyncClient(url, timeout, retries, model, batch)
        self.address = self._client.address
        self._runs = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name=str(self.address), daemon=True)
        self._thread.start()
        self._runs.wait()

    def generate(self, seeds: Sequence[int], **knobs: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Images uint8 [N, H, W, C] of the seeds, in their order; arguments and errors of `AsyncClient.generate`."""
        return self._wait_for(self._client.generate(seeds, **knobs))

    def generate_each(
        self, seeds: Sequence[int], arrived: Callable[[int, npt.NDArray[np.uint8]], None], **knobs: npt.ArrayLike
    ) -> None:
        """As `AsyncClient.generate_each`; ``arrived`` is called on the client's thread.

        Raises:
            InputError, ServerError: as `AsyncClient.generate_each`.
        """
        self._wait_for(self._client.generate_each(seeds, arrived, **knobs))

    def png(self, seeds: Sequence[int], **knobs: npt.ArrayLike) -> list[bytes]:
        """The images as contents of PNG files, in the order of the seeds; arguments and errors of `AsyncClient.png`."""
        return self._wait_for(self._client.png(seeds, **knobs))

    def way(self) -> Way:
        """As `AsyncClient.way`."""
        return self._wait_for(self._client.way())

    def ready(self) -> bool:
        """Whether the model can be asked now; False too where nobody answers within the time-out."""
        return self._wait_for(self._client.ready())

    def close(self) -> None:
        """Ends the connection, and with it what other threads still wait for; closing again does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closed.set)
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _live(self) -> None:
        """All that the thread does: whatever still runs when this ends is cancelled."""
        async with self._client:
            self._loop, self._closed = asyncio.get_running_loop(), asyncio.Event()
            self._runs.set()
            await self._closed.wait()

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            work.close()
            raise self._closed_error()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise self._closed_error() from None
        finally:
            # Ends the work where waiting was interrupted, as by Ctrl-C.
            future.cancel()

    def _closed_error(self) -> InputError:
        return InputError(f"the client of {self.address} is closed: open another")
