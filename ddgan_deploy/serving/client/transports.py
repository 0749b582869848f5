"""One request over gRPC or HTTP: where tritonclient is called and where its errors end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol

import numpy.typing as npt

from ddgan_deploy.serving.address import Address
from ddgan_deploy.serving.installed import needs_tritonclient

Tensors = Mapping[str, npt.NDArray[Any]]
"""By their names; each has its batch first."""

_BUSY_OR_GONE = ("StatusCode.UNAVAILABLE", "503")
"""What a full queue, a server that is stopping and a broken connection are answered with."""
_RESTARTS = re.compile("Stub process .* is not healthy|has no available versions|WrongAnswerError")
"""What 2.51 answers where a process of its python backend has died or stood still, until ddgan-serve starts it anew."""
_UNREACHED = re.compile("Failed to connect to remote host|DNS resolution failed|errors resolving")
"""How gRPC says that there was no connection."""
_NO_TLS = re.compile("WRONG_VERSION_NUMBER|Handshake read failed")
"""Of a handshake: the other side spoke in plain text, or hung up as 2.51's HTTP does."""
_NO_GRPC = re.compile("failed to connect to all addresses.*(Failed parsing HTTP/2|Socket closed)")
"""The connection came to be, but what came over it is not gRPC: 2.51's HTTP hangs up."""
_UNKNOWN = ("StatusCode.NOT_FOUND", "404")
_TOO_LATE = "StatusCode.DEADLINE_EXCEEDED"
_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # As over HTTP: none of our clients asks the proxies of the environment, which gRPC would, even for this machine.
    ("grpc.enable_http_proxy", 0),
    # A channel that failed to connect refuses calls unsent until it tries again, by default after a second or more,
    # so that quick retries would all fail with the first one.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class RequestError(Exception):
    """A request that got no answer; its text is the reason, on one line.

    Attributes:
        again: whether it may be sent again: it was not processed, or its connection broke.
        unreached: whether there was no connection to send it by.
        unknown: whether the server says that it has no such model.
    """

    def __init__(self, reason: object, *, again: bool = False, unreached: bool = False, unknown: bool = False) -> None:
        super().__init__(" ".join(str(reason).split()))
        self.again = again
        self.unreached = unreached
        self.unknown = unknown


class Transport(Protocol):
    """A connection to a server. All methods belong to one event loop; a cancelled one ends its request."""

    async def config(self, model: str) -> dict[str, Any]:
        """The model's configuration, its fields named as in ``config.pbtxt``.

        Raises:
            RequestError: there is none, or no server.
        """
        ...

    async def ready(self, model: str) -> bool:
        """Whether the model can be asked.

        Raises:
            RequestError: no server answers.
        """
        ...

    async def infer(self, model: str, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        """The outputs [N, ...] of inputs [N, ...], in one request.

        Raises:
            RequestError: the server refuses it, fails or cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Ends the connection."""
        ...


def open_transport(address: Address, timeout: float) -> Transport:
    """The transport for an address; it connects at its first request.

    Args:
        address: where the server listens.
        timeout: seconds that a request may take at most.

    Raises:
        InputError: tritonclient is not installed.
    """
    with needs_tritonclient():
        return GrpcTransport(address, timeout) if address.protocol == "grpc" else HttpTransport(address)


class GrpcTransport:
    """Over tritonclient.grpc, whose calls run on threads of gRPC's own.

    Not tritonclient.grpc.aio: grpc.aio has one poller for all event loops of a process, and where there are several,
    as with more than one `Client`, it now and then logs an error of its own (https://github.com/grpc/grpc/issues/25364).
    """

    def __init__(self, address: Address, timeout: float) -> None:
        import tritonclient.grpc as grpc_client

        self._module = grpc_client
        self._address = address
        self._timeout = timeout
        self._client = grpc_client.InferenceServerClient(address.netloc, ssl=address.tls, channel_args=_CHANNEL_OPTIONS)

    async def config(self, model: str) -> dict[str, Any]:
        with self._failures():
            answer: dict[str, Any] = await asyncio.to_thread(
                self._client.get_model_config, model, as_json=True, client_timeout=self._timeout
            )
            return dict(answer["config"])

    async def ready(self, model: str) -> bool:
        with self._failures():
            return bool(await asyncio.to_thread(self._client.is_model_ready, model, client_timeout=self._timeout))

    async def infer(self, model: str, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        answer: Future[Any] = Future()

        def deliver(result: Any, error: Exception | None) -> None:
            if not answer.set_running_or_notify_cancel():
                return
            if error:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        wanted = [self._module.InferRequestedOutput(output) for output in outputs]
        with self._failures():
            call = self._client.async_infer(
                model, _inputs(self._module, inputs), deliver, outputs=wanted, client_timeout=self._timeout
            )
            try:
                return _outputs(await asyncio.wrap_future(answer), outputs)
            finally:
                call.cancel()

    async def close(self) -> None:
        self._client.close()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            with _failures():
                yield
        except RequestError as error:
            if self._address.tls and _NO_TLS.search(str(error)):
                raise _speaks_no_tls(self._address) from error
            if _NO_GRPC.search(str(error)):
                other = replace(self._address, protocol="http")
                raise RequestError(f"{error}; if it speaks HTTP, give {other}", again=error.again) from error
            raise


class HttpTransport:
    """Over tritonclient.http.aio; tensors are binary both ways."""

    def __init__(self, address: Address) -> None:
        import aiohttp
        import tritonclient.http.aio as http_client

        self._module = http_client
        self._address = address
        self._aiohttp = aiohttp
        self._open: Any = None

    @property
    def _client(self) -> Any:
        # Made at the first request: aiohttp binds to the event loop that runs then.
        if self._open is None:
            import ssl

            context = ssl.create_default_context() if self._address.tls else True
            self._open = self._module.InferenceServerClient(
                self._address.netloc, ssl=self._address.tls, ssl_context=context, conn_timeout=None
            )
        return self._open

    async def config(self, model: str) -> dict[str, Any]:
        with self._failures():
            return dict(await self._client.get_model_config(model))

    async def ready(self, model: str) -> bool:
        with self._failures():
            return bool(await self._client.is_model_ready(model))

    async def infer(self, model: str, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        wanted = [self._module.InferRequestedOutput(output, binary_data=True) for output in outputs]
        with self._failures():
            answer = await self._client.infer(model, _inputs(self._module, inputs), outputs=wanted)
            return _outputs(answer, outputs)

    async def close(self) -> None:
        if self._open is not None:
            await self._open.close()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        aiohttp = self._aiohttp
        with _failures():
            try:
                yield
            except aiohttp.ClientConnectorCertificateError as error:
                raise RequestError(f"its certificate is not trusted ({error.certificate_error})") from error
            except aiohttp.ClientConnectorError as error:
                cause = error.os_error
                # A reset has no text: so ends a handshake with 2.51's HTTP, which does not understand it.
                if self._address.tls and (_NO_TLS.search(str(cause)) or not str(cause)):
                    raise _speaks_no_tls(self._address) from error
                # Where it is refused, asyncio's own text repeats the address instead.
                refused = isinstance(cause, ConnectionRefusedError)
                reason = os.strerror(errno.ECONNREFUSED) if refused else cause.strerror or cause
                raise RequestError(reason, again=True, unreached=True) from error
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
                raise RequestError(
                    f"the connection broke ({str(error) or type(error).__name__})", again=True
                ) from error
            except aiohttp.ClientError as error:
                other = replace(self._address, protocol="grpc")
                raise RequestError(
                    f"it does not speak HTTP ({type(error).__name__}); if it speaks gRPC, give {other}"
                ) from error


def _speaks_no_tls(address: Address) -> RequestError:
    # Again: a server or proxy that is starting may hang up, too.
    return RequestError(f"it does not seem to speak TLS: give {replace(address, tls=False)}", again=True)


def _inputs(module: Any, inputs: Tensors) -> list[Any]:
    from tritonclient.utils import np_to_triton_dtype

    return [
        module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype)).set_data_from_numpy(array)
        for name, array in inputs.items()
    ]


def _outputs(answer: Any, names: Sequence[str]) -> Tensors:
    tensors = {name: answer.as_numpy(name) for name in names}
    for name, tensor in tensors.items():
        if tensor is None:
            # Seen of 2.51, without an error, when the engine's process had died.
            raise RequestError(f"its answer holds no {name}", again=True)
    return tensors


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """What goes wrong in tritonclient, as a RequestError or TimeoutError."""
    import struct

    from tritonclient.utils import InferenceServerException

    try:
        yield
    except InferenceServerException as error:
        status, reason = error.status(), error.message() or ""
        if status == _TOO_LATE:
            # Our own time-out, by a clock that was a little faster.
            raise TimeoutError(reason) from error
        unavailable, restarts = status in _BUSY_OR_GONE, _RESTARTS.search(reason) is not None
        raise RequestError(
            reason or status,
            again=unavailable or restarts,
            unreached=unavailable and _UNREACHED.search(reason) is not None,
            unknown=status in _UNKNOWN and not restarts,
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        # tritonclient takes what it reads for well-formed.
        raise RequestError(f"its answer cannot be read ({error})") from error
