"""What the python backend runs: the engine, and the encoder of PNG files.

The server calls `initialize` once, then `execute` with the requests of a batch, and at its end `finalize`. The module
``triton_python_backend_utils``, which exists in its process alone, is handed in by the repository's ``model.py``.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.engines import open_artifact
from ddgan_deploy.errors import InputError
from ddgan_deploy.images import COMMENT_BYTES, grid, png, with_comment
from ddgan_deploy.serving.backend.dlpack import Input, padding, to_bytes_tensor, to_tensor
from ddgan_deploy.serving.backend.heartbeat import Heartbeat
from ddgan_deploy.serving.backend.image_cache import Image, ImageCache, cache_bytes
from ddgan_deploy.serving.echo import DRAWN, check, seed_comment

IMAGE = "image"
DRAWN_SEED = DRAWN + "seed"
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


class EngineModel(Model):
    """seed INT64 [n, 1] -> image UINT8 [n, H, W, C], drawn_seed INT64 [n, 1], on the first engine that runs here.

    ``drawn_seed`` is what the images were really drawn from: 2.51 was seen to take an answer for another request's.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Opens the artifact in the model's version folder.

        Raises:
            TritonModelException: it cannot be opened; the server then does not load the model.
        """
        super().initialize(args)
        logging.getLogger("ddgan_deploy").addHandler(ServerLog(self.server.Logger))
        if args.get("model_instance_kind") == "GPU":
            # An instance is a process of its own, so that it need not see the other GPUs.
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            index = args["model_instance_device_id"]
            os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[int(index)] if visible else index
        folder = Path(args["model_repository"], args["model_version"])
        parameters = {key: value["string_value"] for key, value in self._config["parameters"].items()}
        try:
            threads = _threads(parameters["threads"])
            self._cache = ImageCache(cache_bytes())
            self._engine = open_artifact(folder / parameters["artifact"], parameters["engine"], threads)
        except KeyError as error:
            raise self.server.TritonModelException(f"config.pbtxt lacks parameters: {error}") from None
        except InputError as error:
            raise self.server.TritonModelException(f"the engine cannot be opened: {error}") from None
        for size in sorted({1, int(self._config["max_batch_size"])}):
            # The server's own warm-up asks for one seed many times, which is drawn once.
            self._engine.generate(range(size))
        self._metrics = _Metrics(self.server, self._engine.name)
        self._heart.start()
        self.server.Logger.log_info(f"{self._config['name']} draws on {self._engine.name}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One run for all requests."""
        return self.answers(requests, self._draw)

    def finalize(self) -> None:
        """Closes the engine."""
        self._engine.close()

    def _draw(self, inputs: list[Inputs]) -> list[list[Any]]:
        # Copies, so that what is told as drawn is what was drawn, whatever becomes of the request's own memory.
        seeds = [each["seed"].copy() for each in inputs]
        images = self._images({seed for part in seeds for seed in part.ravel().tolist()})
        return [
            [
                to_tensor(self.server, IMAGE, np.stack([images[seed] for seed in part.ravel().tolist()])),
                *([to_tensor(self.server, DRAWN_SEED, part)] if DRAWN_SEED in self._outputs else []),
            ]
            for part in seeds
        ]

    def _images(self, seeds: Set[int]) -> Mapping[int, Image]:
        """The image [H, W, C] of each seed."""
        found = self._cache.find(seeds)
        self._metrics.count_found(len(found))
        missing = sorted(seeds - found.keys())
        if not missing:
            return found
        drawn = dict(zip(missing, self._engine.generate(missing), strict=True))
        self._metrics.count_run(len(drawn))
        self._cache.keep(drawn)
        return found | drawn


def _threads(text: str) -> int | None:
    """CPU threads, as the parameter of the name has them; None: all cores."""
    if not text.isdecimal():
        raise InputError(f"parameters: threads {text!r} is no number: give 1 or more, or 0 for all cores")
    return int(text) or None


class PngModel(Model):
    """image UINT8 [n, H, W, C], drawn_seed, seed INT64 [n, 1] -> png BYTES [n, 1].

    An image that was drawn from another seed than the one that was asked for is refused, and a file's comment tells its
    seed. Without ``drawn_seed`` the images are taken for right; old repositories have no ``seed`` either.
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Reads the model's configuration."""
        super().initialize(args)
        self._heart.start()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """A PNG file for each image."""
        return self.answers(requests, self._encode)

    def _encode(self, inputs: list[Inputs]) -> list[list[Any]]:
        return [[to_bytes_tensor(self.server, "png", self._files(each))] for each in inputs]

    def _files(self, inputs: Inputs) -> list[bytes]:
        if "seed" not in inputs:
            return [padded_png(image) for image in inputs[IMAGE]]
        seeds = inputs["seed"].ravel().tolist()
        check("seed", seeds, inputs.get(DRAWN_SEED, inputs["seed"]).ravel().tolist())
        return [padded_png(*pair) for pair in zip(inputs[IMAGE], seeds, strict=True)]


def padded_png(pixels: Image, seed: int | None = None) -> bytes:
    """An image [H, W, C] as a PNG file that, with its length before it, fills whole blocks; see `tensors`."""
    file = png(grid(pixels[None], scale=1, gap=0), optimize=False)
    comment = b"" if seed is None else seed_comment(seed)
    return with_comment(file, comment + b" " * padding(len(file) + COMMENT_BYTES + len(comment)))


class _Metrics:
    """Our own rows on the server's metrics page."""

    def __init__(self, server: Any, engine: str) -> None:
        def counter(name: str, description: str) -> Any:
            return server.MetricFamily(name=name, description=description, kind=server.MetricFamily.COUNTER)

        self._runs_family = counter("ddgan_runs_total", "Runs of the engine, by the images drawn in one")
        self._images_family = counter("ddgan_images_total", "Images that the engine drew")
        self._found_family = counter("ddgan_cached_images_total", "Images that had been drawn before")
        self._engine = engine
        self._runs: dict[int, Any] = {}
        self._images = self._images_family.Metric(labels={"engine": engine})
        self._found = self._found_family.Metric(labels={"engine": engine})

    def count_run(self, images: int) -> None:
        """One run."""
        if images not in self._runs:
            labels = {"engine": self._engine, "images": str(images)}
            self._runs[images] = self._runs_family.Metric(labels=labels)
        self._runs[images].increment(1)
        self._images.increment(images)

    def count_found(self, images: int) -> None:
        """Images out of the cache."""
        if images:
            self._found.increment(images)
