"""ONNX Runtime on the CPU: the fused ops by the native library, or by their own function bodies."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnxruntime

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED, Artifact
from ddgan_deploy.artifact.reading import check_fits, read_sampler
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.engines.onnxruntime.prepared import PreparedGraph, prepared_folder
from ddgan_deploy.engines.onnxruntime.probes import probed, state_name
from ddgan_deploy.engines.onnxruntime.session import kept_weights, new_session
from ddgan_deploy.engines.onnxruntime.step_graph import NUMBER, STATE, StepGraph, node_names, one_step, place_of
from ddgan_deploy.inputs import Array, Inputs, served_inputs

if TYPE_CHECKING:
    import onnx

NATIVE, BFLOAT16, PORTABLE = "onnxruntime", "onnxruntime-bf16", "onnxruntime-portable"
"""The engines: with the native library, with its products of bfloat16, without it."""


class OnnxRuntime(Engine):
    """Runs the artifact's files; with the native library, as `native_graph` rewrites them in memory.

    Sessions are made at first use; ONNX Runtime lets several threads share one.

    Args:
        artifact: what to run.
        threads: of each session's own pool; None: all cores.
        library: the native library of fused ops; None: stock ONNX Runtime.
        bfloat16: whether that library's products of float32 are of bfloat16.

    Raises:
        InputError: prepared graphs are to be kept where others may write.
    """

    def __init__(
        self, artifact: Artifact, threads: int | None = None, library: Path | None = None, bfloat16: bool = False
    ) -> None:
        self.name = (BFLOAT16 if bfloat16 else NATIVE) if library else PORTABLE
        self.artifact = artifact
        self.threads = threads
        self._library = library
        self._bfloat16 = bfloat16
        self._prepared = prepared_folder()
        self._probing: dict[tuple[tuple[str, ...], frozenset[str]], onnxruntime.InferenceSession] = {}

    def sample(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """x_0 [N, C, H, W] from the sampler's inputs."""
        (x_0,) = self._sampler.run(None, dict(inputs))
        return np.asarray(x_0, np.float32)

    def generate(self, seeds: Sequence[int], **knobs: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Images [N, H, W, C] of the seeds, in their order."""
        (image,) = self._served.run(None, served_inputs(self.artifact.manifest.sampler, seeds, knobs))
        return np.asarray(image, np.uint8)

    def probe(self, inputs: Inputs, nodes: Sequence[str], states: Mapping[str, Array] | None = None) -> list[Array]:
        """As `engines.base.Probing.probe`; a session is kept for the next run of the same kind.

        Of a Loop the state alone can be given, which its body makes.
        """
        if self._step is not None:
            return self._probe_steps(self._step, inputs, nodes, states or {})
        given = states or {}
        session = self._probing_session(self._model, nodes, given)
        fed = {**inputs, **{state_name(node): state for node, state in given.items()}}
        return [np.asarray(value, np.float32) for value in session.run(list(nodes), fed)]

    def _probe_steps(
        self, step: StepGraph, inputs: Inputs, nodes: Sequence[str], states: Mapping[str, Array]
    ) -> list[Array]:
        """The steps of a Loop one by one, as far as nodes are asked for."""
        places = [place_of(node, step.trips - 1) for node in nodes]
        given = {place_of(node, step.trips - 1): state for node, state in states.items()}
        session = self._probing_session(step.model, sorted({node for _, node in places}))
        count = len(next(iter(inputs.values())))
        x = np.zeros((count, *self.artifact.manifest.sampler.image), np.float32)
        told: dict[tuple[int, str], Array] = {}
        for k in _trips(step, [trip for trip, _ in places], given):
            wanted = list(dict.fromkeys(node for trip, node in places if trip == k))
            x = given.get((k - 1, step.maker), x)
            *found, x = session.run([*wanted, step.state], {**inputs, NUMBER: np.array(k, np.int64), STATE: x})
            told |= {(k, node): np.asarray(value, np.float32) for node, value in zip(wanted, found, strict=True)}
        return [told[place] for place in places]

    def _probing_session(
        self, model: onnx.ModelProto, nodes: Sequence[str], states: Collection[str] = ()
    ) -> onnxruntime.InferenceSession:
        wanted = (tuple(nodes), frozenset(states))
        if wanted not in self._probing:
            content = probed(model, nodes, states).SerializeToString()
            self._probing = {wanted: self._new_session(content, self.artifact.path)}
        return self._probing[wanted]

    def close(self) -> None:
        """Ends the sessions; used again, the engine makes new ones."""
        self._probing = {}
        for session in ("_sampler", "_served"):
            self.__dict__.pop(session, None)

    @property
    def nodes(self) -> list[str]:
        """The names of the sampler's nodes, in running order."""
        return node_names(self._model.graph)

    @functools.cached_property
    def _model(self) -> onnx.ModelProto:
        return read_sampler(self.artifact)

    @functools.cached_property
    def _step(self) -> StepGraph | None:
        """Where the sampler's steps are a Loop."""
        return one_step(self._model)

    @functools.cached_property
    def _sampler(self) -> onnxruntime.InferenceSession:
        return self._file_session(SAMPLER)

    @functools.cached_property
    def _served(self) -> onnxruntime.InferenceSession:
        direct = functools.partial(self._file_session, SERVED)
        # Without hashes it is still being exported.
        if self._prepared is None or not self.artifact.manifest.files:
            return direct()
        return PreparedGraph(self._prepared, self.artifact, self.name, self.threads, self._library).session(direct)

    def _file_session(self, name: str, optimized: Path | None = None) -> onnxruntime.InferenceSession:
        path = self.artifact.path / name
        if self.artifact.manifest.looped:
            with kept_weights(path.parent) as folder:
                session = self._new_session(path.read_bytes(), folder, True, optimized)
        else:
            session = self._new_session(path, None, True, optimized)
        check_fits(
            self.artifact,
            name,
            session.get_modelmeta().custom_metadata_map,
            [each.name for each in session.get_inputs()],
        )
        return session

    def _new_session(
        self,
        model: Path | bytes,
        weights_folder: Path | None = None,
        inlines: bool = False,
        optimized: Path | None = None,
    ) -> onnxruntime.InferenceSession:
        return new_session(
            model,
            self.threads,
            weights_folder,
            self._library,
            bfloat16=self._bfloat16,
            inlines=inlines,
            optimized=optimized,
        )


def _trips(step: StepGraph, asked: Sequence[int], given: Collection[tuple[int, str]]) -> list[int]:
    """Of a Loop's, those that are asked for, and those that they start from but where that is given."""
    trips: list[int] = []
    for k in reversed(range(1 + max(asked))):
        if k in asked or (trips[-1:] == [k + 1] and (k, step.maker) not in given):
            trips.append(k)
    return trips[::-1]
