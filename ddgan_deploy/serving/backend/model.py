"""What all models of the python backend do alike."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from ddgan_deploy.serving.backend.dlpack import Input
from ddgan_deploy.serving.backend.heartbeat import Heartbeat

Inputs = dict[str, npt.NDArray[Any]]
"""Of one request, by their names; each has its batch first."""


class ServerLog(logging.Handler):
    """Puts Python's log records into the server's log.

    Args:
        logger: ``pb_utils.Logger``.
    """

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        if record.levelno >= logging.ERROR:
            self._logger.log_error(self.format(record))
        elif record.levelno >= logging.WARNING:
            self._logger.log_warn(self.format(record))
        else:
            self._logger.log_info(self.format(record))


class Model:
    """What both models do alike: one answer to each request, in order, whatever becomes of the others.

    Attributes:
        server: the module ``triton_python_backend_utils``.
    """

    server: Any
    _heart = Heartbeat()

    def initialize(self, args: Mapping[str, str]) -> None:
        """Reads the model's configuration."""
        self._config = json.loads(args["model_config"])
        # 2.51's response cache keeps a refusal, as an empty answer to whoever asks the same later.
        self._kept_by_server = bool(self._config.get("response_cache", {}).get("enable"))
        self._inputs = [
            Input(tensor["name"], tuple(tensor["dims"]), bool(tensor.get("optional")), not self._kept_by_server)
            for tensor in self._config["input"]
        ]
        self._outputs = {tensor["name"] for tensor in self._config["output"]}

    def answers(self, requests: Sequence[Any], run: Callable[[list[Inputs]], Sequence[list[Any]]]) -> list[Any]:
        """Responses to requests.

        Args:
            requests: of one execute call.
            run: computes the output tensors of several requests from the inputs of each. Where it fails for all
                together it is called for each alone.
        """
        self._heart.beat()
        responses: list[Any] = [None] * len(requests)
        inputs: dict[int, Inputs] = {}
        for index, request in enumerate(requests):
            if request.is_cancelled() and not self._kept_by_server:
                responses[index] = self._refusal("the request was cancelled", "CANCELLED")
                continue
            try:
                inputs[index] = self._read(request)
            except ValueError as error:
                responses[index] = self._refusal(str(error), "INVALID_ARG")
        for index, response in zip(inputs, self._run(list(inputs.values()), run), strict=True):
            responses[index] = response
        self._heart.beat()
        return responses

    def _read(self, request: Any) -> Inputs:
        """The inputs of a request.

        Raises:
            ValueError: one is missing or wrong, or they do not go together.
        """
        read = {tensor.name: tensor.read(self.server, request) for tensor in self._inputs}
        inputs = {name: array for name, array in read.items() if array is not None}
        if len({len(array) for array in inputs.values()}) != 1:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
            raise ValueError(f"inputs {shapes} are not of one batch")
        return inputs

    def _run(self, inputs: list[Inputs], run: Callable[[list[Inputs]], Sequence[list[Any]]]) -> list[Any]:
        if not inputs:
            return []
        try:
            return [self.server.InferenceResponse(tensors) for tensors in run(inputs)]
        except Exception as error:  # whatever an engine throws must not end the server's process
            if len(inputs) == 1:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self.server.Logger.log_error(
                    f"{', '.join(f'{k} {list(v.shape)}' for k, v in inputs[0].items())}: {reason}"
                )
                return [self._refusal(reason, "INTERNAL")]
            self.server.Logger.log_warn(f"{len(inputs)} requests failed together ({error}): now each alone")
        return [response for alone in inputs for response in self._run([alone], run)]

    def _refusal(self, message: str, code: str) -> Any:
        error = self.server.TritonError
        return self.server.InferenceResponse(error=error(message, getattr(error, code)))
