"""The model that draws."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from ddgan_deploy.engines import open_artifact
from ddgan_deploy.errors import InputError
from ddgan_deploy.serving.backend.dlpack import to_tensor
from ddgan_deploy.serving.backend.image_cache import Image, ImageCache, cache_bytes
from ddgan_deploy.serving.backend.metrics import Metrics
from ddgan_deploy.serving.backend.model import Inputs, Model, ServerLog
from ddgan_deploy.serving.echo import DRAWN

IMAGE = "image"
DRAWN_SEED = DRAWN + "seed"


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
        self._metrics = Metrics(self.server, self._engine.name)
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
