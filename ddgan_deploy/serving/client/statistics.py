"""What a running server counts about a model, asked over gRPC or HTTP."""

from __future__ import annotations

import dataclasses
import http.client
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.sampler import Knob
from ddgan_deploy.serving.address import Address
from ddgan_deploy.serving.installed import needs_tritonclient
from ddgan_deploy.serving.knobs import asked_with

T = TypeVar("T")
_TIMEOUT = 10.0
"""Seconds to wait for an answer that needs no work."""


@dataclass(frozen=True)
class Statistics:
    """Totals since the server's start, or with `-` between two moments.

    Attributes:
        requests: that were answered.
        cache_hits: of them, those that the response cache answered.
        images: that the model gave, without the response cache's.
        runs: of the engine.
        total_ns, queue_ns, compute_ns: nanoseconds summed over all requests: in the server, of that waiting for a run,
            and of that in a run, with what goes in and comes out.
    """

    requests: int = 0
    cache_hits: int = 0
    images: int = 0
    runs: int = 0
    total_ns: int = 0
    queue_ns: int = 0
    compute_ns: int = 0

    def __add__(self, other: Statistics) -> Statistics:
        return self._with(other, 1)

    def __sub__(self, other: Statistics) -> Statistics:
        return self._with(other, -1)

    def _with(self, other: Statistics, sign: int) -> Statistics:
        mine, others = dataclasses.astuple(self), dataclasses.astuple(other)
        return Statistics(*(a + sign * b for a, b in zip(mine, others, strict=True)))


class ServerStatistics:
    """Asks one server. A context manager."""

    def __init__(self, address: Address) -> None:
        """
        Raises:
            InputError: the package tritonclient is missing.
        """
        with needs_tritonclient():
            module = importlib.import_module(f"tritonclient.{address.protocol}")
            from tritonclient.utils import InferenceServerException
        self.address = address
        self._grpc = address.protocol == "grpc"
        self._failures = (InferenceServerException, OSError, http.client.HTTPException)
        # Of the two only gRPC would ask a proxy, which may not reach the server.
        no_proxy = {"channel_args": [("grpc.enable_http_proxy", 0)]}
        timeouts = {"connection_timeout": _TIMEOUT, "network_timeout": _TIMEOUT}
        self._client = module.InferenceServerClient(address.netloc, **(no_proxy if self._grpc else timeouts))

    def __enter__(self) -> ServerStatistics:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def check(self, model: str) -> str:
        """The server's name and version, if it is there and has the model ready.

        Raises:
            InputError: nobody answers, or as `knobs`.
        """
        try:
            server = self._ask("get_server_metadata")
        except self._failures as error:
            raise InputError(
                f"no Triton Inference Server answers at {self.address} "
                f"({_reason(error)}): start one with ddgan-serve, or give another --url"
            ) from None
        self.knobs(model)
        return f"{server['name']} {server['version']}"

    def knobs(self, model: str) -> tuple[Knob, ...]:
        """The knobs that the model has.

        Raises:
            InputError: the model is not there, or takes something else than seeds and knobs.
        """
        try:
            config = self._config(model)
        except self._failures as error:
            raise InputError(
                f"the server at {self.address} does not serve the model {model} ({_reason(error)}): "
                "give another --model, or serve a repository that has it"
            ) from None
        knobs = asked_with(config)
        if knobs is None:
            raise InputError(f"the model {model} takes something else than a seed: give another --model")
        return knobs

    def _config(self, model: str) -> Mapping[str, Any]:
        """The model's configuration, its fields named as in ``config.pbtxt``."""
        answer = self._ask("get_model_config", model)
        config: Mapping[str, Any] = answer["config"] if self._grpc else answer
        return config

    def drawn_by(self, model: str) -> tuple[str, int]:
        """The model that draws for this one, and how often for an image: itself, or an ensemble's first step.

        Raises:
            GateError: the server no longer answers.
        """
        config = self._again(lambda: self._config(model))
        steps = [step["model_name"] for step in config.get("ensemble_scheduling", {}).get("step", [])] or [model]
        return steps[0], steps.count(steps[0])

    def read(self, model: str) -> Statistics:
        """What the server has counted about the model, over all its versions.

        Raises:
            GateError: the server no longer answers.
        """
        answer = self._again(lambda: self._ask("get_inference_statistics", model))
        return sum((parse_statistics(version) for version in answer["model_stats"]), Statistics())

    def _again(self, ask: Callable[[], T]) -> T:
        """An answer of a server that has answered before.

        Raises:
            GateError: it no longer does.
        """
        try:
            return ask()
        except self._failures as error:
            reason = _reason(error)
            raise GateError(f"the server at {self.address} no longer answers ({reason}): see its log") from None

    def _ask(self, name: str, *arguments: str) -> Mapping[str, Any]:
        options = {"as_json": True, "client_timeout": _TIMEOUT} if self._grpc else {}
        answer: Mapping[str, Any] = getattr(self._client, name)(*arguments, **options)
        return answer


def parse_statistics(version: Mapping[str, Any]) -> Statistics:
    """One model version's entry of the statistics, as JSON; gRPC leaves zeros out and has numbers as text."""
    durations = version.get("inference_stats", {})

    def value(name: str, key: str) -> int:
        return int(durations.get(name, {}).get(key, 0))

    return Statistics(
        requests=value("success", "count"),
        cache_hits=value("cache_hit", "count"),
        images=int(version.get("inference_count", 0)),
        runs=int(version.get("execution_count", 0)),
        total_ns=value("success", "ns"),
        queue_ns=value("queue", "ns"),
        compute_ns=sum(value(name, "ns") for name in ("compute_input", "compute_infer", "compute_output")),
    )


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
