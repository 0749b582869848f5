"""The model that draws."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ddgan_deploy.engines import open_artifact
from ddgan_deploy.engines.arithmetic import name_and_type
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import at_stage, examples, served_knobs
from ddgan_deploy.serving.backend.dlpack import to_tensor
from ddgan_deploy.serving.backend.image_cache import Image, ImageCache, Key, cache_bytes, keys
from ddgan_deploy.serving.backend.metrics import Metrics
from ddgan_deploy.serving.backend.model import Inputs, Model, ServerLog
from ddgan_deploy.serving.echo import DRAWN, SEED

IMAGE = "image"


class EngineModel(Model):
    """seed INT64 [n, 1] and knobs -> image UINT8 [n, H, W, C], drawn_seed and so on.

    It runs on the first engine that there is here. ``drawn_seed`` is what the images were really drawn from, as each
    knob's own such output is: 2.51 was seen to take an answer for another request's. Requests with different knobs run
    together.
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
            # Of a cascade; older repositories have none.
            self._stage = _stage(parameters.get("stage", "0"))
            self._cache = ImageCache(cache_bytes())
            self._engine = open_artifact(folder / parameters["artifact"], parameters["engine"], threads)
        except KeyError as error:
            raise self.server.TritonModelException(f"config.pbtxt lacks parameters: {error}") from None
        except InputError as error:
            raise self.server.TritonModelException(f"the engine cannot be opened: {error}") from None
        self._knobs = self._engine.artifact.manifest.sampler.knobs
        for size in sorted({1, int(self._config["max_batch_size"])}):
            # The server's own warm-up asks for one seed many times, which is drawn once.
            self._engine.generate(range(size), **examples(self._knobs, range(size)))
        self._metrics = Metrics(self.server, self._config["name"], self._engine.name)
        self._heart.start()
        self.server.Logger.log_info(f"{self._config['name']} draws on {name_and_type(self._engine)}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One run for all requests."""
        return self.answers(requests, self._draw)

    def finalize(self) -> None:
        """Closes the engine."""
        self._engine.close()

    def _read(self, request: Any) -> Inputs:
        """The seeds and all knobs of a request, those that it leaves out, too.

        Raises:
            ValueError: one is wrong, or out of its range.
        """
        inputs = super()._read(request)
        # A copy, as `served_knobs` makes of the others, so that what is told as drawn is what was drawn, whatever
        # becomes of the request's own memory.
        seeds = inputs.pop(SEED).copy()
        try:
            return {SEED: seeds, **served_knobs(self._knobs, len(seeds), inputs)}
        except InputError as error:
            raise ValueError(str(error)) from None

    def _draw(self, requests: list[Inputs]) -> list[list[Any]]:
        keyed = [keys(inputs) for inputs in requests]
        rows = {key: (inputs, i) for part, inputs in zip(keyed, requests, strict=True) for i, key in enumerate(part)}
        images = self._images(rows)
        return [
            [
                to_tensor(self.server, IMAGE, np.stack([images[key] for key in part])),
                *(
                    to_tensor(self.server, DRAWN + name, value)
                    for name, value in inputs.items()
                    if DRAWN + name in self._outputs
                ),
            ]
            for part, inputs in zip(keyed, requests, strict=True)
        ]

    def _images(self, rows: Mapping[Key, tuple[Inputs, int]]) -> Mapping[Key, Image]:
        """The image [H, W, C] of each row of a request's inputs."""
        found = self._cache.find(rows)
        self._metrics.count_found(len(found))
        missing = [key for key in rows if key not in found]
        if not missing:
            return found
        names = next(iter(rows.values()))[0]
        inputs = {name: np.stack([rows[key][0][name][rows[key][1]] for key in missing]) for name in names}
        seeds = inputs.pop(SEED).ravel().tolist()
        if self._stage:
            seeds, inputs = at_stage(self._knobs, self._stage, seeds, inputs)
        drawn = dict(zip(missing, self._engine.generate(seeds, **inputs), strict=True))
        self._metrics.count_run(len(drawn))
        self._cache.keep(drawn)
        return found | drawn


def _threads(text: str) -> int | None:
    """CPU threads, as the parameter of the name has them; None: all cores."""
    if not text.isdecimal():
        raise InputError(f"parameters: threads {text!r} is no number: give 1 or more, or 0 for all cores")
    return int(text) or None


def _stage(text: str) -> int:
    """How many models of a cascade draw before this one."""
    if not text.isdecimal():
        raise InputError(f"parameters: stage {text!r} is no number: give how many models draw before this one")
    return int(text)
