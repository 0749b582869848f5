"""What the server says while it starts: why it did not get ready, and what of it means nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ddgan_deploy.serving.server.options import ServerOptions

PREINITIALIZE = "Failed to preinitialize Python stub"
TERMINATE = "terminate called after throwing"
_REBUILD = "make it anew with ddgan-export --rebuild ARTIFACT --engine none, or mend what that says"
_REPOSITORY = f"{{options.repository}} cannot be served: {{reason}}; {_REBUILD}"
_MODEL = f"{{options.repository}} cannot be served: model {{model}}: {{reason}}; {_REBUILD}"
_OTHER = "{options.repository} cannot be served: {reason}; mend what that says"
_ERROR = re.compile(r"^[EF]\d+ .*?\] (?P<reason>.+)", re.MULTILINE)
_STUB = r"Stub process '[^']+' is not healthy"


@dataclass(frozen=True)
class _Cause:
    """One end of a server.

    Attributes:
        pattern: found in the log of a server that ended so.
        says: the sentence for the user, with the pattern's groups and the server's options in it.
    """

    pattern: str
    says: str


_CAUSES = (
    # A port is listened on last, when all models are there.
    *(
        _Cause(
            rf"failed to start {way} service: ",
            f"port {{options.{name}_port}} of {{options.host}} cannot be used (something else took it while the server "
            f"started): give another --{name}-port, or end what uses it",
        )
        for way, name in (("HTTP", "http"), ("GRPC", "grpc"), ("Metrics", "metrics"))
    ),
    # Of options it says what is wrong before its help, or after it.
    _Cause(
        r"^\S*tritonserver: (?P<reason>.*\boption .+)",
        "tritonserver refuses an option: {reason}; mend what stands after --",
    ),
    _Cause(
        r'^Bad option: "(?P<option>[^"]+)"\.?\n(?P<reason>.+)',
        "tritonserver refuses {option}: {reason}; mend what stands after --",
    ),
    _Cause(
        r"^Usage: tritonserver[\s\S]*\n(?P<reason>\S.*)\s*\Z",
        "tritonserver refuses an option: {reason}; mend what stands after --",
    ),
    _Cause(
        r"shared memory (?:key|pool|region).*?Error: (?P<error>[^\"\n;]+)",
        "/dev/shm does not have what the server's python backend needs ({error}): let it write there, some MB for each "
        "instance of a model, in a container with --shm-size=256m",
    ),
    _Cause(
        r"Failed to create temporary directory",
        "the server's python backend cannot write into /tmp: make that possible, in a container with --tmpfs /tmp",
    ),
    _Cause(
        r"ModuleNotFoundError: No module named '(?P<module>[^']+)'",
        "the server's Python lacks the module {module}: pip install ddgan-deploy and its parts for serving into the "
        "python3 that is first on PATH",
    ),
    # How C++ says that a text is no number.
    _Cause(
        r": sto(?:i|u?ll?|d|f)\W*$",
        "tritonserver refuses an option whose value is no number; mend what stands after --",
    ),
    _Cause(
        rf"failed to load '(?P<model>[^']+)' version \d+: (?!Internal: {_STUB})(?P<reason>.+)",
        _MODEL,
    ),
    _Cause(
        rf"failed to load '(?P<model>[^']+)' version \d+: Internal: {_STUB}",
        "the python process of model {model} ended while it loaded: that is so where memory runs out, or a library "
        "crashes; the system's log tells which",
    ),
    _Cause(
        r"Error parsing text-format inference\.ModelConfig: (?P<reason>.+)\n(?:.*\n)*?"
        r".*Poll failed for model directory '(?P<model>[^']+)'",
        _MODEL.replace("{reason}", "its config.pbtxt at {reason}"),
    ),
    _Cause(r"Poll failed for model directory '(?P<model>[^']+)': (?P<reason>.+)", _MODEL),
    _Cause(rf"{PREINITIALIZE}: (?P<reason>.+)", _REPOSITORY),
    _Cause(r"^E.*model_repository_manager.*\] \"(?P<reason>.+)", _REPOSITORY),
    _Cause(rf"{TERMINATE}.*\n\s*what\(\):\s*(?P<reason>.+)", _OTHER),
    _Cause(r"^error: (?P<reason>.+)", _OTHER),
)
"""The first that is found counts: what comes later is what follows from it, or less plain."""

_WITHOUT_GPU = re.compile(
    # Memory for copies to and from a GPU.
    r"Unable to allocate pinned system memory|CUDA memory pool disabled"
    # The driver is looked for whether or not a model asks for a GPU, by the server and by every ensemble.
    r"|CudaDriverHelper has not been initialized|unable to create stream for \S+: CUDA"
    r"|unable to get number of CUDA devices"
    # Metrics of GPUs.
    r"|GPU metrics will not be available"
)
_BEFORE_A_TABLE = re.compile(r"^[A-Z]\d+ [^\]]*\] *$")
_TABLE = ("+", "|")


def cause(log: Iterable[str], options: ServerOptions) -> str:
    """Why a server ended before it was ready, and what to do about it; "" where its log has no cause that is known.

    Args:
        log: its lines, each with its end.
        options: that it was started with.
    """
    text = "".join(log)
    for known in _CAUSES:
        if found := re.search(known.pattern, text, re.MULTILINE):
            groups = {name: _plain(value) for name, value in found.groupdict().items()}
            return known.says.format(options=options, **groups)
    return ""


def last_word(log: Iterable[str]) -> str:
    """What a server said last that may be why it ended: an error, else any line."""
    lines = [line for line in log if line.strip() and not is_noise(line, gpu=False)]
    errors = _ERROR.findall("".join(lines))
    return _plain(errors[-1]) if errors else lines[-1].strip() if lines else "it said nothing"


def is_noise(line: str, gpu: bool) -> bool:
    """Whether a line means nothing in a good start: tables, and where there is no GPU what is said of that."""
    if not line.strip() or line.startswith(_TABLE) or _BEFORE_A_TABLE.match(line):
        return True
    return not gpu and _WITHOUT_GPU.search(line) is not None


def _plain(reason: str) -> str:
    """A reason without what the server and its python backend put around it."""
    # An exception in the python backend comes with where it was raised.
    text = reason.strip().strip('"').split(r"\n\nAt:")[0].strip()
    for prefix in ("Internal: ", "Invalid argument: ", "TritonModelException: "):
        text = text.removeprefix(prefix)
    return text.rstrip(".;")
