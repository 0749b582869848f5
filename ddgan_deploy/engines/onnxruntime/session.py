"""ONNX Runtime's sessions on the CPU, as all of our code makes them."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from ddgan_deploy.artifact.manifest import SERVED, WEIGHTS
from ddgan_deploy.engines.onnxruntime.native_graph import NativeGraph, native_graph
from ddgan_deploy.errors import InputError
from ddgan_deploy.kernels.older import may_be_older, modernize
from ddgan_deploy.names import in_utf8
from ddgan_deploy.scratch import scratch_folder

_ERRORS_ONLY = 3


def new_session(
    model: Path | bytes,
    threads: int | None = None,
    weights_folder: Path | None = None,
    library: Path | None = None,
    profile_prefix: Path | None = None,
    bfloat16: bool = False,
    inlines: bool = False,
    optimized: Path | None = None,
) -> onnxruntime.InferenceSession:
    """A CPU session.

    Args:
        model: a file, or a serialized model.
        threads: of the session's own pool; None: all cores.
        weights_folder: where a serialized model's external weights lie.
        library: the native library of fused ops.
        profile_prefix: how the name of the file begins that ``end_profiling`` writes; None: there is none.
        bfloat16: whether the native library's products of float32 may be of bfloat16.
        inlines: without the library, whether function bodies are put in the places of their ops here. ONNX Runtime
            does the same by itself, in some tenths of a second more.
        optimized: a folder that gets the graph as ONNX Runtime has optimized it for this processor, for
            `optimized_session`; None: it stays in memory.

    Raises:
        InputError: ONNX Runtime cannot load the library or the model, or write the optimized one.
    """
    options = _options(threads, library)
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    folder = weights_folder or (model.parent if isinstance(model, Path) else None)
    name = "the graph" if isinstance(model, bytes) else str(model)
    if library is not None:
        graph = native_graph(model, folder, bfloat16)
    else:
        graph = NativeGraph(inlined(modernized(model)) if inlines else modernized(model))
    try:
        with (
            in_utf8(folder or Path()) as place,
            _external_weights(options, folder, graph.files),
            _written_to(optimized, options),
        ):
            if folder is not None:
                options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(place))
            source = graph.model if isinstance(graph.model, bytes) else str(place / graph.model.name)
            session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no base class
        raise InputError(f"ONNX Runtime cannot load {name}: {str(error).splitlines()[0]}") from None
    del graph
    give_back_memory()
    return session


def optimized_session(model: Path, threads: int | None, library: Path | None) -> onnxruntime.InferenceSession:
    """A CPU session of a graph that `new_session` has written, as it is there.

    It maps the weights beside the graph for as long as it lives: nobody may write into their file.

    Args:
        model: the graph's file.
        threads, library: as of `new_session`.

    Raises:
        InputError: ONNX Runtime cannot load the library or the model.
    """
    options = _options(threads, library)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Else, of a graph that was written, weights of int8 become float32 long before they are read, and lie there.
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    try:
        with in_utf8(model.parent) as place:
            return onnxruntime.InferenceSession(str(place / model.name), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no base class
        raise InputError(f"ONNX Runtime cannot load {model}: {str(error).splitlines()[0]}") from None


def give_back_memory() -> None:
    """Returns to the system what was freed, which glibc keeps: as much as the weights take in a session that copies."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _options(threads: int | None, library: Path | None) -> Any:
    """What all sessions have alike.

    Raises:
        InputError: ONNX Runtime cannot load the library.
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
    if library is not None:
        try:
            options.register_custom_ops_library(str(library))
        except Exception as error:  # ONNX Runtime's own errors share no base class
            reason = str(error).splitlines()[0]
            raise InputError(f"ONNX Runtime cannot load {library}: {reason}; choose onnxruntime-portable") from None
    return options


def modernized(model: Path | bytes) -> Path | bytes:
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


def inlined(model: Path | bytes) -> Path | bytes:
    """A model with function bodies in the places of their ops, serialized; or the model itself if it cannot be read."""
    import onnx
    import onnx.inliner
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load_model_from_string(model if isinstance(model, bytes) else model.read_bytes())
        return bytes(onnx.inliner.inline_local_functions(proto).SerializeToString())
    except (OSError, DecodeError, RuntimeError, onnx.checker.ValidationError):
        # ONNX Runtime says what is wrong with it.
        return model


@contextlib.contextmanager
def _external_weights(options: Any, folder: Path | None, made: Mapping[str, npt.NDArray[np.generic]]) -> Iterator[None]:
    """Lets a session that is made in the block copy the weights.

    ONNX Runtime itself would map their file for as long as the session lives, and compute with whatever is written
    into it; and end the process where the file is cut short.

    Args:
        options: of the session.
        folder: where the weights' file is.
        made: files that exist in memory alone.
    """
    files: dict[str, Any] = {name: values.view(np.uint8).reshape(-1).data for name, values in made.items()}
    path = folder / WEIGHTS if folder else None
    with contextlib.ExitStack() as stack:
        if path is not None and path.is_file() and path.stat().st_size:
            file = stack.enter_context(path.open("rb"))
            files[WEIGHTS] = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        if files:
            contents = list(files.values())
            options.add_external_initializers_from_files_in_memory(list(files), contents, list(map(len, contents)))
        yield


@contextlib.contextmanager
def _written_to(folder: Path | None, options: Any) -> Iterator[None]:
    """Lets a session that is made in the block write its optimized graph and the weights of that into a folder."""
    if folder is None:
        yield
        return
    with in_utf8(folder) as place:
        options.optimized_model_filepath = str(place / SERVED)
        # Those of 1024 bytes and more. Never in packed forms, which ONNX Runtime offers, too: with 1.31 int8 then drew
        # other images.
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
        yield


@contextlib.contextmanager
def kept_weights(folder: Path) -> Iterator[Path]:
    """A folder with a copy of the weights, which sessions that are made in the block map for as long as they live.

    `_external_weights` does not reach the body of a Loop, whose weights ONNX Runtime maps. Here nobody writes into what
    it maps, and the disk keeps it until the sessions are gone.

    Raises:
        InputError: it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            copy = stack.enter_context(scratch_folder("ddgan-weights-"))
            shutil.copyfile(folder / WEIGHTS, copy / WEIGHTS)
        except OSError as error:
            place = tempfile.gettempdir()
            raise InputError(
                f"{folder / WEIGHTS} cannot be copied to {place} ({error.strerror}): name another folder in TMPDIR"
            ) from None
        yield copy
