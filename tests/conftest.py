"""Golden cases: checkpoints in the published form, and what the published code computes from them."""

from __future__ import annotations

import functools
import gc
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ddgan_deploy import screen
from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.export.report import engines, formats, write
from ddgan_deploy.families.ddgan import checkpoint
from ddgan_deploy.families.ddgan.checkpoint import DdganCheckpoint
from ddgan_deploy.kernels.native_library import ort_library
from tests import quick, sources_only, traces
from tests.exports import Exports

DATA = Path(__file__).parent / "data"
LONG = (
    "kernels/test_aot.py",
    "ddgan_deploy/serving/test_nothing_leaves.py",
    "tools/test_gpu_bundle.py",
    "ddgan_deploy/serving/test_load.py",
    "export/families/test_adm.py",
    "export/test_architectures.py",
    "export/test_onnxruntime_versions.py",
    "export/test_oldest_packages.py",
    "test_readme.py",
    "kernels/test_trt_plugins.py",
    "kernels/test_cuda_launches.py",
    "kernels/test_cuda_ops.py",
    "ddgan_deploy/serving/server/test_serve.py",
    "export/web/test_page.py",
    "ddgan_deploy/play/test_page.py",
    "ddgan_deploy/bulk/test_cluster.py",
    "export/precision/test_int8.py",
)
"""Files that take longest; they begin, lest a process is alone with one at the end."""
CASES = {"biggan": 4, "biggan_oneadagn": 4, "gray_t8": 8, "no_fir_t2": 2, "training_state": 4}
"""Case -> steps."""


_CACHE = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help=quick.__doc__)


def pytest_configure(config: pytest.Config) -> None:
    # Triton-language kernels are compiled or interpreted for a whole process, as its environment says at import.
    if config.option.markexpr != "gpu":
        os.environ["TRITON_INTERPRET"] = "1"
    # Else libraries multiply float32 in TensorFloat-32, which has ten bits; they read this when they are loaded.
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    # What engines are taken must not depend on what was measured on this machine; pip's own cache may help.
    if "PYTEST_XDIST_WORKER" not in os.environ:
        cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        os.environ.setdefault("PIP_CACHE_DIR", str(Path(cache) / "pip"))
        os.environ["XDG_CACHE_HOME"] = config.stash.setdefault(_CACHE, tempfile.TemporaryDirectory()).name
    # In the background of a script, or under nohup, a process ignores these; its children would too, if it did not
    # take them and do nothing.
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    config.pluginmanager.register(sources_only)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {DATA.parent / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    # The packages and the thousands of tests stay to the end: looking through them again and again for what can go took
    # a tenth of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no NVIDIA GPU")
        if "TRITON_INTERPRET" in os.environ:
            pytest.skip("make test-gpu runs it")


@pytest.fixture(scope="session", autouse=True)
def _patience() -> Iterator[None]:
    """On a busy machine, too, a command that fails says so in one line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "PATIENCE", 3600.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def _shared_cores() -> Iterator[None]:
    """A session that waits for its own threads leaves its core to other processes, of which there are more."""
    # Not before our own package, which keeps it from reporting.
    import onnxruntime

    class SessionOptions(onnxruntime.SessionOptions):
        def __init__(self) -> None:
            super().__init__()
            self.add_session_config_entry("session.intra_op.allow_spinning", "0")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "SessionOptions", SessionOptions)
        yield


@pytest.fixture(scope="session", autouse=True)
def _fast() -> Iterator[None]:
    """What is the same every time is worked out once, and a report's pictures need not be the smallest files."""
    with pytest.MonkeyPatch.context() as patch:
        # The shapes of a generator's weights follow from its architecture.
        patch.setattr(checkpoint, "_expected_shapes", functools.cache(checkpoint._expected_shapes))
        templates = functools.cache(formats.environment)
        for part in (write, engines):
            patch.setattr(part, "environment", templates)
        patch.setattr(write, "png", functools.partial(write.png, optimize=False))
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all processes of this run of pytest."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def _traces(request: pytest.FixtureRequest, shared_folder: Path) -> Iterator[None]:
    """A generator is traced once for each architecture: that is most of what an export takes."""
    if request.config.getoption("quick"):
        with pytest.MonkeyPatch.context() as patch:
            quick.close_doors(patch)
            yield
    else:
        with traces.kept(shared_folder / "traces"):
            yield


@pytest.fixture(scope="session")
def exports(shared_folder: Path) -> Exports:
    """Artifacts for tests that look at them and leave them as they are."""
    return Exports(shared_folder / "artifacts")


@pytest.fixture(scope="session")
def library() -> Path:
    """The native library; where continuous integration runs, its absence is a failure."""
    path = ort_library()
    if path is None:
        reason = "the native library has not been built: see the notices of make setup"
        pytest.fail(reason) if "CI" in os.environ else pytest.skip(reason)
    return path


@dataclass(frozen=True)
class Golden:
    """One golden case.

    Attributes:
        path: the checkpoint file.
        config: the training arguments, where the case has a file of them.
        steps: T.
        inputs: what the published sampler was fed with.
        io: all arrays of the case; x0 and x_prev are [T, N, C, H, W].
    """

    name: str
    path: Path
    config: Path | None
    steps: int
    inputs: dict[str, np.ndarray]
    io: dict[str, np.ndarray]

    def load(self) -> DdganCheckpoint:
        loaded = load_checkpoint(self.path, self.config)
        assert isinstance(loaded, DdganCheckpoint)
        return loaded


def golden_case(name: str) -> Golden:
    folder = DATA / name
    io = dict(np.load(folder / "io.npz"))
    path = next(path for path in (folder / "netG.pth", folder / "content.pth") if path.exists())
    config = folder / "args.json"
    inputs = {
        "x_T": io["x_T"],
        "z": np.ascontiguousarray(io["z"].swapaxes(0, 1)),
        "noise": np.ascontiguousarray(io["noise"][:-1].swapaxes(0, 1)),
    }
    return Golden(name, path, config if config.exists() else None, CASES[name], inputs, io)


@pytest.fixture(scope="session", params=CASES)
def golden(request: pytest.FixtureRequest) -> Golden:
    """Every golden case in turn."""
    return golden_case(request.param)


@pytest.fixture(scope="session")
def biggan() -> Golden:
    """The golden case that most tests use."""
    return golden_case("biggan")
