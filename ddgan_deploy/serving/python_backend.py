"""What the python backend runs: the engine, and the encoder of PNG files.

The server calls `initialize` once, then `execute` with the requests of a batch, and at its end `finalize`. The module
``triton_python_backend_utils``, which exists in its process alone, is handed in by the repository's ``model.py``.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.engines import open_artifact
from ddgan_deploy.errors import InputError
from ddgan_deploy.images import COMMENT_BYTES, grid, png, with_comment
from ddgan_deploy.serving.tensors import from_tensor, padding, to_bytes_tensor, to_tensor

Seeds = npt.NDArray[np.int64]
Images = npt.NDArray[np.uint8]


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
        input: name of the tensor that a request brings.
    """

    server: Any
    input: str

    def answers(self, requests: Sequence[Any], run: Callable[[list[npt.NDArray[Any]]], Sequence[Any]]) -> list[Any]:
        """Responses to requests.

        Args:
            requests: of one execute call.
            run: computes the output tensors of several inputs [n, ...], n >= 1 each. Where it fails for all
                together it is called for each alone.
        """
        responses: list[Any] = [None] * len(requests)
        inputs: dict[int, npt.NDArray[Any]] = {}
        for index, request in enumerate(requests):
            if request.is_cancelled():
                responses[index] = self._refusal("the request was cancelled", "CANCELLED")
                continue
            try:
                inputs[index] = from_tensor(self.server.get_input_tensor_by_name(request, self.input))
            except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
                responses[index] = self._refusal(f"input {self.input} cannot be read: {error}", "INVALID_ARG")
        for index, response in zip(inputs, self._run(list(inputs.values()), run), strict=True):
            responses[index] = response
        return responses

    def _run(self, inputs: list[npt.NDArray[Any]], run: Callable[..., Sequence[Any]]) -> list[Any]:
        if not inputs:
            return []
        try:
            return [self.server.InferenceResponse([tensor]) for tensor in run(inputs)]
        except Exception as error:  # whatever an engine throws must not end the server's process
            if len(inputs) == 1:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self.server.Logger.log_error(f"{self.input} of {len(inputs[0])}: {reason}")
                return [self._refusal(reason, "INTERNAL")]
            self.server.Logger.log_warn(f"{len(inputs)} requests failed together ({error}): now each alone")
        return [response for alone in inputs for response in self._run([alone], run)]

    def _refusal(self, message: str, code: str) -> Any:
        error = self.server.TritonError
        return self.server.InferenceResponse(error=error(message, getattr(error, code)))


class EngineModel(Model):
    """seed INT64 [n, 1] -> image UINT8 [n, H, W, C], on the first engine that runs here."""

    input = "seed"

    def initialize(self, args: Mapping[str, str]) -> None:
        """Opens the artifact in the model's version folder.

        Raises:
            TritonModelException: it cannot be opened; the server then does not load the model.
        """
        logging.getLogger("ddgan_deploy").addHandler(ServerLog(self.server.Logger))
        config = json.loads(args["model_config"])
        if args.get("model_instance_kind") == "GPU":
            # An instance is a process of its own, so that it need not see the other GPUs.
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            index = args["model_instance_device_id"]
            os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[int(index)] if visible else index
        folder = Path(args["model_repository"], args["model_version"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        try:
            threads = _threads(parameters["threads"])
            self._engine = open_artifact(folder / parameters["artifact"], parameters["engine"], threads)
        except KeyError as error:
            raise self.server.TritonModelException(f"config.pbtxt lacks parameters: {error}") from None
        except InputError as error:
            raise self.server.TritonModelException(f"the engine cannot be opened: {error}") from None
        self._metrics = _Metrics(self.server, self._engine.name)
        self.server.Logger.log_info(f"{config['name']} draws on {self._engine.name}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One run for all requests."""
        return self.answers(requests, self._draw)

    def finalize(self) -> None:
        """Closes the engine."""
        self._engine.close()

    def _draw(self, inputs: list[Seeds]) -> list[Any]:
        seeds = np.concatenate([seed.reshape(-1) for seed in inputs])
        # A request for both pixels and a PNG file brings its seeds twice.
        distinct, places = np.unique(seeds, return_inverse=True)
        images = self._engine.generate(distinct.tolist())[places]
        self._metrics.count(len(distinct))
        ends = np.cumsum([len(seed) for seed in inputs])[:-1]
        return [to_tensor(self.server, "image", part) for part in np.split(images, ends)]


def _threads(text: str) -> int | None:
    """CPU threads, as the parameter of the name has them; None: all cores."""
    if not text.isdecimal():
        raise InputError(f"parameters: threads {text!r} is no number: give 1 or more, or 0 for all cores")
    return int(text) or None


class PngModel(Model):
    """image UINT8 [n, H, W, C] -> png BYTES [n, 1]."""

    input = "image"

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """A PNG file for each image."""
        return self.answers(requests, self._encode)

    def _encode(self, inputs: list[Images]) -> list[Any]:
        return [to_bytes_tensor(self.server, "png", [padded_png(image) for image in images]) for images in inputs]


def padded_png(pixels: Images) -> bytes:
    """An image [H, W, C] as a PNG file that, with its length before it, fills whole blocks; see `tensors`."""
    file = png(grid(pixels[None], scale=1, gap=0), optimize=False)
    return with_comment(file, b" " * padding(len(file) + COMMENT_BYTES))


class _Metrics:
    """Our own rows on the server's metrics page."""

    def __init__(self, server: Any, engine: str) -> None:
        counter = server.MetricFamily.COUNTER
        self._runs_family = server.MetricFamily(
            name="ddgan_runs_total", description="Runs of the engine, by the images drawn in one", kind=counter
        )
        self._images_family = server.MetricFamily(
            name="ddgan_images_total", description="Images that the engine drew", kind=counter
        )
        self._engine = engine
        self._runs: dict[int, Any] = {}
        self._images = self._images_family.Metric(labels={"engine": engine})

    def count(self, images: int) -> None:
        """One run."""
        if images not in self._runs:
            labels = {"engine": self._engine, "images": str(images)}
            self._runs[images] = self._runs_family.Metric(labels=labels)
        self._runs[images].increment(1)
        self._images.increment(images)
