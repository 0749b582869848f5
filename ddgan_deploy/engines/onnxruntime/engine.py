"""ONNX Runtime on the CPU: the fused ops by the native library, or by their own function bodies."""

from __future__ import annotations

import contextlib
import functools
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from ddgan_deploy.artifact.manifest import SAMPLER, SERVED, WEIGHTS, Artifact, check_fits, read_sampler
from ddgan_deploy.engines.base import Engine, feeds
from ddgan_deploy.engines.onnxruntime.conv3x3 import specialized
from ddgan_deploy.engines.onnxruntime.probes import state_name, take_states
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.schedule import Trajectory
from ddgan_deploy.names import in_utf8
from ddgan_deploy.noise import Noise, seed_array

if TYPE_CHECKING:
    import onnx

_ERRORS_ONLY = 3


class OnnxRuntime(Engine):
    """Runs the artifact's files; with the native library, as `cpu_graph` rewrites them in memory.

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

    def sample(self, noise: Noise) -> npt.NDArray[np.float32]:
        """x_0 [N, C, H, W] from given noise."""
        (x_0,) = self._sampler.run(None, feeds(noise))
        return np.asarray(x_0, np.float32)

    def generate(self, seeds: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Images [N, H, W, C] of the seeds, in their order."""
        (image,) = self._served.run(None, {"seed": seed_array(seeds)})
        return np.asarray(image, np.uint8)

    def close(self) -> None:
        """Ends the sessions; used again, the engine makes new ones."""
        for session in ("_sampler", "_served", "_tracing_sampler", "_stepping_sampler"):
            self.__dict__.pop(session, None)

    def trajectory(self, noise: Noise, states: npt.NDArray[np.float32] | None = None) -> Trajectory:
        """Every step's x0 and x_prev, read off the PosteriorSample nodes; x_0 is both at the last step.

        Args:
            noise: of N images.
            states: [T-1, N, C, H, W], what every step but the first starts from; None: what the step before made.
        """
        nodes = self._posterior_nodes
        names = [*self._trajectory_names, "x_0"]
        if states is None:
            *inner, x_0 = self._tracing_sampler.run(names, feeds(noise))
        else:
            given = {state_name(k): state for k, state in enumerate(states)}
            *inner, x_0 = self._stepping_sampler.run(names, feeds(noise) | given)
        raw = [value.astype(np.float32) for value in inner[0::2]]
        x0 = [np.tanh(value) if _squashes(node) else value for node, value in zip(nodes, raw, strict=True)]
        return Trajectory(np.stack([*x0, x_0]), np.stack([*inner[1::2], x_0]))

    def inner_values(self, noise: Noise, names: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        """Any values of the sampler graph, by a session made for them."""
        session = self._probing_session(names)
        return [np.asarray(value, np.float32) for value in session.run(list(names), feeds(noise))]

    @functools.cached_property
    def graph(self) -> onnx.GraphProto:
        """The sampler's graph, without its weights."""
        return self._model.graph

    @functools.cached_property
    def _model(self) -> onnx.ModelProto:
        return read_sampler(self.artifact)

    @functools.cached_property
    def _posterior_nodes(self) -> list[onnx.NodeProto]:
        return [node for node in self.graph.node if node.op_type == "PosteriorSample"]

    @functools.cached_property
    def _sampler(self) -> onnxruntime.InferenceSession:
        return self._file_session(SAMPLER)

    @property
    def _trajectory_names(self) -> list[str]:
        return [name for node in self._posterior_nodes for name in (node.input[0], node.output[0])]

    @functools.cached_property
    def _tracing_sampler(self) -> onnxruntime.InferenceSession:
        return self._probing_session(self._trajectory_names)

    @functools.cached_property
    def _stepping_sampler(self) -> onnxruntime.InferenceSession:
        return self._probing_session(self._trajectory_names, given_states=True)

    @functools.cached_property
    def _served(self) -> onnxruntime.InferenceSession:
        return self._file_session(SERVED)

    def _file_session(self, name: str) -> onnxruntime.InferenceSession:
        session = self._new_session(self.artifact.path / name)
        check_fits(self.artifact, name, session.get_modelmeta().custom_metadata_map)
        return session

    def _probing_session(self, names: Sequence[str], given_states: bool = False) -> onnxruntime.InferenceSession:
        """The sampler with inner values as further outputs, and with states as inputs where they are given."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        if given_states:
            take_states(model.graph)
        # Without a type ONNX Runtime infers it.
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
        return self._new_session(model.SerializeToString())

    def _new_session(self, model: Path | bytes) -> onnxruntime.InferenceSession:
        weights_folder = self.artifact.path if isinstance(model, bytes) else None
        return new_session(model, self.threads, weights_folder, self._library)


def _squashes(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "squash" and attribute.s == b"tanh" for attribute in node.attribute)


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
    try:
        with in_utf8(folder or Path()) as place, _external_weights(options, folder):
            if folder is not None:
                options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(place))
            source = model if isinstance(model, bytes) else str(place / model.name)
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no base class
        raise InputError(f"ONNX Runtime cannot load {name}: {str(error).splitlines()[0]}") from None


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
