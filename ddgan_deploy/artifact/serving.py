"""The words in which a model repository is described; importing them costs nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from ddgan_deploy.errors import InputError

Backend = Literal["auto", "python", "onnxruntime", "tensorrt"]
Accelerator = Literal["auto", "cpu", "cuda", "tensorrt"]
CpuEngine = Literal["onnxruntime", "onnxruntime-bf16", "openvino-f32", "openvino-bf16", "onnxruntime-portable"]
CPU_ENGINES: tuple[CpuEngine, ...] = get_args(CpuEngine)

DEFAULT_MAX_BATCH = 8
MOST_BATCH = 1024
MOST_QUEUED = 1_000_000


@dataclass(frozen=True)
class Serving:
    """How an artifact's model repository is to be.

    Attributes:
        backend: of Triton Inference Server that runs the model; "auto": tensorrt where the artifact has an engine
            from seeds to pixels that takes single images, else python.
        max_batch: most images a run, 1..1024; None: 8, or what the TensorRT engine takes where that is another number.
        accelerator: of the onnxruntime backend: "cpu"; "cuda" or "tensorrt", its execution providers on a GPU;
            "auto": CUDA where the server finds a GPU.
        cpu_engine: of the python backend, and of every other who opens the artifact, where no GPU runs it; "auto":
            the fastest that is installed and keeps the artifact's tolerance.
        queue_size: most requests that wait for each model that draws, 1..1000000, and at most 30 s; 0: no bound, and as
            long as the client does.
    """

    backend: Backend = field(
        default="auto",
        metadata={
            "help": "what runs the model in the server (default: {default}, tensorrt where its engine was built, else "
            "python)"
        },
    )
    max_batch: int | None = field(
        default=None,
        metadata={
            "help": f"most images a run (default: {DEFAULT_MAX_BATCH}, or all that the TensorRT engine takes)",
            "metavar": "N",
        },
    )
    accelerator: Accelerator = field(
        default="auto",
        metadata={"help": "of the onnxruntime backend (default: {default}, CUDA where the server finds a GPU)"},
    )
    cpu_engine: CpuEngine | Literal["auto"] = field(
        default="auto",
        metadata={
            "help": "what runs the artifact where no GPU does, in the python backend as in every command "
            "(default: {default}, the fastest that is installed and keeps the artifact's tolerance)",
            "choices": ("auto", *CPU_ENGINES),
        },
    )
    queue_size: int = field(
        default=0,
        metadata={
            "help": "most requests that wait, at most 30 s each; what comes on top is refused at once, but the server "
            "then begins most batches up to half a second late (default: 0, no bound)",
            "metavar": "N",
        },
    )


DEFAULT_SERVING = Serving()


def check_serving(serving: Serving) -> None:
    """Refuses options that fit no artifact.

    Raises:
        InputError: one is unknown or out of range, or they do not go together.
    """
    for flag, value, known in (
        ("--backend", serving.backend, get_args(Backend)),
        ("--accelerator", serving.accelerator, get_args(Accelerator)),
    ):
        if value not in known:
            raise InputError(f"{flag} {value!r} is unknown: give one of {', '.join(known)}")
    if serving.max_batch is not None and not 1 <= serving.max_batch <= MOST_BATCH:
        raise InputError(f"--max-batch {serving.max_batch} is out of range: give 1..{MOST_BATCH}")
    if not 0 <= serving.queue_size <= MOST_QUEUED:
        raise InputError(f"--queue-size {serving.queue_size} is out of range: give 1..{MOST_QUEUED}, or 0 for no bound")
    if serving.accelerator != "auto" and serving.backend != "onnxruntime":
        raise InputError(
            f"--accelerator {serving.accelerator} is of the onnxruntime backend: give --backend onnxruntime with it"
        )
