"""ONNX Runtime on the CPU: the fused ops by the native library, or by their own function bodies."""

from __future__ import annotations

import contextlib
import functools
import mmap
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED, WEIGHTS, Artifact
from ddgan_deploy.artifact.reading import check_fits, read_sampler
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.engines.onnxruntime.conv3x3 import specialized
from ddgan_deploy.engines.onnxruntime.probes import probed, state_name
from ddgan_deploy.engines.onnxruntime.step_graph import NUMBER, STATE, StepGraph, node_names, one_step, place_of
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import Array, Inputs, served_inputs
from ddgan_deploy.kernels.older import may_be_older, modernize
from ddgan_deploy.names import in_utf8
from ddgan_deploy.scratch import scratch_folder

if TYPE_CHECKING:
    import onnx

_ERRORS_ONLY = 3


class OnnxRuntime(Engine):
    """Runs the artifact's files; with the native library, as `conv3x3` rewrites them in memory.

    Sessions are made at first use; ONNX Runtime lets several threads share one.

    Args:
        artifact: what to run.
        threads: of each session's own pool; None: all cores.
        library: the native library of fused ops; None: stock ONNX Runtime.
    """

    def __init__(self, artifact: Artifact, threads: int | None = None, library: Path | None = None) -> None:
        self.name = "onnxruntime" if library else "onnxruntime-portable"
        self.artifact = artifact
        self.threads = threads
        self._library = library
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
        for k in range(1 + max(trip for trip, _ in places)):
            wanted = list(dict.fromkeys(node for trip, node in places if trip == k))
            *found, x = session.run([*wanted, step.state], {**inputs, NUMBER: np.array(k, np.int64), STATE: x})
            told |= {(k, node): np.asarray(value, np.float32) for node, value in zip(wanted, found, strict=True)}
            x = given.get((k, step.maker), x)
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
        return self._file_session(SERVED)

    def _file_session(self, name: str) -> onnxruntime.InferenceSession:
        path = self.artifact.path / name
        if self.artifact.manifest.looped:
            with _kept_weights(path.parent) as folder:
                session = self._new_session(path.read_bytes(), folder)
        else:
            session = self._new_session(path)
        check_fits(self.artifact, name, session.get_modelmeta().custom_metadata_map)
        return session

    def _new_session(self, model: Path | bytes, weights_folder: Path | None = None) -> onnxruntime.InferenceSession:
        return new_session(model, self.threads, weights_folder, self._library)


def new_session(
    model: Path | bytes,
    threads: int | None = None,
    weights_folder: Path | None = None,
    library: Path | None = None,
    profile_prefix: Path | None = None,
) -> onnxruntime.InferenceSession:
    """A CPU session.

    Args:
        model: a file, or a serialized model.
        threads: of the session's own pool; None: all cores.
        weights_folder: where a serialized model's external weights lie.
        library: the native library of fused ops.
        profile_prefix: how the name of the file begins that ``end_profiling`` writes; None: there is none.

    Raises:
        InputError: ONNX Runtime cannot load the library or the model.
    """
    options: Any = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Inside function bodies ONNX Runtime loses the name of the batch size, so its planner finds nothing
    # to reuse, but searches for it in time quadratic in the nodes. Without it memory is the same.
    options.enable_mem_reuse = False
    # Else its threads keep their cores busy for some 30 ms after a run, which whoever sends the answer needs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    folder = weights_folder or (model.parent if isinstance(model, Path) else None)
    name = "the graph" if isinstance(model, bytes) else str(model)
    if library is not None:
        try:
            options.register_custom_ops_library(str(library))
        except Exception as error:  # ONNX Runtime's own errors share no base class
            reason = str(error).splitlines()[0]
            raise InputError(f"ONNX Runtime cannot load {library}: {reason}; choose onnxruntime-portable") from None
        model = specialized(model)
    else:
        model = _modernized(model)
    try:
        with in_utf8(folder or Path()) as place, _external_weights(options, folder):
            if folder is not None:
                options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(place))
            source = model if isinstance(model, bytes) else str(place / model.name)
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no base class
        raise InputError(f"ONNX Runtime cannot load {name}: {str(error).splitlines()[0]}") from None


def _modernized(model: Path | bytes) -> Path | bytes:
    """An older model with the ops of today, serialized; or the model itself where it is none or cannot be read.

    ONNX Runtime before 1.27 takes the functions of an older one for each other.
    """
    try:
        content = model if isinstance(model, bytes) else model.read_bytes()
    except OSError:
        return model
    if not may_be_older(content):
        return model
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load_model_from_string(content)
        return proto.SerializeToString() if modernize(proto) else model
    except (DecodeError, KeyError):
        return model


@contextlib.contextmanager
def _external_weights(options: Any, folder: Path | None) -> Iterator[None]:
    """Lets a session that is made in the block copy the weights.

    ONNX Runtime itself would map their file for as long as the session lives, and compute with whatever is written
    into it; and end the process where the file is cut short.
    """
    path = folder / WEIGHTS if folder else None
    if path is None or not path.is_file() or not path.stat().st_size:
        yield
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as weights:
        options.add_external_initializers_from_files_in_memory([WEIGHTS], [weights], [len(weights)])
        yield


@contextlib.contextmanager
def _kept_weights(folder: Path) -> Iterator[Path]:
    """A folder with a copy of the weights, which sessions that are made in the block map for as long as they live.

    `_external_weights` does not reach the body of a Loop, whose weights ONNX Runtime maps. Here nobody writes into what
    it maps, and the disk keeps it until the sessions are gone.

    Raises:
        InputError: there is no room for it.
    """
    with scratch_folder("ddgan-weights-") as copy:
        try:
            shutil.copyfile(folder / WEIGHTS, copy / WEIGHTS)
        except OSError as error:
            raise InputError(f"{folder / WEIGHTS} cannot be copied to {copy} ({error.strerror}): set TMPDIR") from None
        yield copy
