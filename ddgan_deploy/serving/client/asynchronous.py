"""A client for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.inputs import Knobs, rows, seed_array, served_knobs
from ddgan_deploy.serving import MODEL, PNG_MODEL
from ddgan_deploy.serving.address import Address, parse_url
from ddgan_deploy.serving.client.transports import RequestError, open_transport
from ddgan_deploy.serving.client.way import IMAGE, PNG, Way
from ddgan_deploy.serving.echo import SEED, Values, WrongAnswerError

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 8
"""Requests that one call has under way at most."""
RETRIES = 9
"""With the pauses they last 10 to 13 seconds, which a server takes that is started anew."""
FIRST_PAUSE = 0.2
"""Seconds before the first retry, at most; every further pause is twice as long, up to `LONGEST_PAUSE`."""
LONGEST_PAUSE = 2.0


class ServerError(GateError):
    """The server did not do what it was asked; one line names it, the model and its reason."""


class AsyncClient:
    """A client for asyncio. It belongs to the event loop of its first call, where any number of tasks may share it.

    A seed is a pure function, so a request that the server was too busy for, or whose connection or process broke, is
    sent again: after growing pauses, and within the time-out. Any other refusal is final.

    Attributes:
        address: where the server listens.
        model: the model that is asked.
        timeout: seconds for a whole call, all its requests and retries; in `generate_each` from answer to answer.
        retries: how often one request is sent again.
        batch: seeds in one request at most.
    """

    def __init__(
        self,
        url: str | Address,
        timeout: float = 60.0,
        retries: int = RETRIES,
        model: str = MODEL,
        batch: int | None = None,
    ) -> None:
        """Connects at the first call.

        Args:
            url: ``http://HOST:PORT``, ``grpc://HOST:PORT``, or ``HOST:PORT``, which is asked at once what it speaks.
            timeout: seconds.
            retries: 0 or more.
            model: its name on the server.
            batch: 1 or more; None: as many as the model takes.

        Raises:
            InputError: an argument is out of range, the url is no address or, without a protocol, nobody answers
                there; or tritonclient is not installed.
        """
        for name, value, right, form in (
            ("timeout", timeout, 0 < timeout < math.inf, "seconds above 0"),
            ("retries", retries, retries >= 0, "0 or more"),
            ("batch", batch, batch is None or batch >= 1, "1 or more"),
        ):
            if not right:
                raise InputError(f"{name} {value} is out of range: give {form}")
        self.address = url if isinstance(url, Address) else parse_url(url)
        self.model = model
        self.timeout = timeout
        self.retries = retries
        self.batch = batch
        # A request may wait for all the others that are under way.
        self._transport = open_transport(self.address, IN_FLIGHT * timeout)
        self._ways: dict[str, Way] = {}
        self._answered = False

    async def generate(self, seeds: Sequence[int], **knobs: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Images uint8 [N, H, W, C] of the seeds, in their order.

        Args:
            seeds: N integers.
            knobs: of the model, such as ``label=3``, where others than the defaults are wanted: one value, or one for
                each seed.

        Raises:
            InputError: there are no seeds, one is no 64-bit integer, a knob is unknown or out of its range, or the
                server has no such model.
            ServerError: the server cannot be reached, refuses, fails, takes longer than the time-out, or has the model
                no more that answered before.
        """
        images: npt.NDArray[np.uint8] = np.concatenate(await self._ask(seeds, knobs, IMAGE, lambda start, part: part))
        return images

    async def generate_each(
        self, seeds: Sequence[int], arrived: Callable[[int, npt.NDArray[np.uint8]], None], **knobs: npt.ArrayLike
    ) -> None:
        """Hands over the images as they arrive, in any order, for who wants to keep those that came before an error.

        Args:
            seeds: any number of them.
            arrived: called with a start and images uint8 [n, H, W, C] of ``seeds[start : start + n]``; an error that it
                raises ends the call.
            knobs: as of `generate`.

        Raises:
            InputError, ServerError: as `generate`, but that the time-out begins anew with every answer.
        """
        await self._ask(seeds, knobs, IMAGE, arrived, renewed=True)

    async def png(self, seeds: Sequence[int], **knobs: npt.ArrayLike) -> list[bytes]:
        """The images as contents of PNG files, in the order of the seeds; arguments and errors of `generate`."""
        parts = await self._ask(seeds, knobs, PNG, lambda start, part: part)
        return [bytes(file) for part in parts for file in part.ravel()]

    async def way(self) -> Way:
        """How the model is asked for images: its knobs, the seeds that a request may have, the size of an image.

        Raises:
            InputError, ServerError: as `generate`.
        """
        with self._failures(IMAGE):
            async with asyncio.timeout(self.timeout) as limit:
                return await self._way(IMAGE, limit)

    async def ready(self) -> bool:
        """Whether the model can be asked now; False too where nobody answers within the time-out."""
        try:
            async with asyncio.timeout(self.timeout):
                return await self._transport.ready(self.model)
        except (RequestError, TimeoutError):
            return False

    async def close(self) -> None:
        """Ends the connection; closing again does nothing."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(
        self,
        seeds: Sequence[int],
        knobs: Knobs,
        output: str,
        take: Callable[[int, npt.NDArray[Any]], R],
        renewed: bool = False,
    ) -> list[R]:
        """What ``take`` makes of the output of all seeds, in parts; ``renewed``: the time-out begins anew with each."""
        words = seed_array(seeds)
        with self._failures(output):
            async with asyncio.timeout(self.timeout) as limit:
                way = await self._way(output, limit)
                size = min(way.batch, self.batch or way.batch)
                inputs = {SEED: words, **served_knobs(way.knobs, len(words), knobs)}

                async def ask(start: int) -> R:
                    part = rows(inputs, slice(start, start + size))
                    taken = take(start, await self._retried(lambda: self._answer(way, part), limit))
                    if renewed and not limit.expired():
                        limit.reschedule(asyncio.get_running_loop().time() + self.timeout)
                    return taken

                return await _each(range(0, len(words), size), ask)

    @contextlib.contextmanager
    def _failures(self, output: str) -> Iterator[None]:
        """What goes wrong on the way to an output, as an InputError or a ServerError."""
        try:
            yield
        except TimeoutError:
            message = f"{self._who()} did not answer within {self.timeout:g} s: give it more time, or fewer seeds"
            raise ServerError(message) from None
        except RequestError as error:
            if error.unknown and not self._answered:
                raise InputError(f"{self._who()} is unknown: {error}") from error
            if error.unknown:
                # It drew before, so that the name is right: another server has taken the port.
                message = f"{self._who()} is no longer known: {error}: restart ddgan-serve there, or give another url"
                raise ServerError(message) from error
            if error.unreached:
                message = f"nobody answers at {self.address} ({error}): start ddgan-serve, or give another url"
                raise ServerError(message) from error
            raise ServerError(f"{self._who()} gave no {output}: {error}") from error

    async def _answer(self, way: Way, inputs: Values) -> npt.NDArray[Any]:
        """The output of the seeds, in one request, seen to be of these and their knobs where the answer tells.

        Raises:
            RequestError: there is none, or it is another request's.
        """
        answer = await self._transport.infer(way.model, inputs, [way.output, *way.echoes])
        shape, count = answer[way.output].shape, len(inputs[SEED])
        if shape[0] != count:
            raise RequestError(f"its answer to {count} seeds has shape {list(shape)}")
        try:
            output = way.checked(inputs, answer)
        except WrongAnswerError as error:
            message = f"{error}: its answers are mixed up, restart the server"
            raise RequestError(message, again=True) from error
        self._answered = True
        return output

    async def _way(self, output: str, limit: asyncio.Timeout) -> Way:
        """How the output is asked for.

        Raises:
            InputError: the model does not turn seeds into such an output.
        """
        if output not in self._ways:
            # In repositories of before, the one model gives PNG files, too.
            models = [self.model, *([PNG_MODEL] if self.model == MODEL and output == PNG else [])]
            for model in models:
                config = await self._retried(functools.partial(self._transport.config, model), limit)
                if way := Way.through(model, config, output):
                    self._ways[output] = way
                    break
            else:
                raise InputError(
                    f"{self._who()} does not turn seed into {output}: ask the model {MODEL} of ddgan-export"
                )
        return self._ways[output]

    async def _retried(self, send: Callable[[], Awaitable[T]], limit: asyncio.Timeout) -> T:
        """Sends a request until it is answered, refused for good, or out of retries or time."""
        clock = asyncio.get_running_loop().time
        for attempt in range(self.retries):
            try:
                return await send()
            except RequestError as error:
                # Uneven pauses, so that clients who were refused together do not come back together.
                pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * random.uniform(0.8, 1)
                if not error.again or clock() + pause >= (limit.when() or math.inf):
                    raise
            await asyncio.sleep(pause)
        return await send()

    def _who(self) -> str:
        return f"model {self.model} at {self.address}"


async def _each(items: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
    """What the work makes of each item, in order, `IN_FLIGHT` at a time; the first error ends all, and comes alone."""
    results: dict[int, R] = {}
    left = iter(enumerate(items))

    async def take_turns() -> None:
        for index, item in left:
            results[index] = await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(IN_FLIGHT, len(items))):
                group.create_task(take_turns())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [results[index] for index in range(len(items))]
