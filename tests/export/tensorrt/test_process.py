"""A build in a process of its own: what comes back, and what is left when it does not."""

from __future__ import annotations

import os
import sys

import pytest

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.export.tensorrt import process as engine_process
from ddgan_deploy.export.tensorrt.job import EngineJob, ParserModel, log_path
from ddgan_deploy.export.tensorrt.options import EngineOptions
from ddgan_deploy.export.tensorrt.process import build_engine

BUILDER = """import os, sys, time
from ddgan_deploy.errors import GateError, NotInstalled
from ddgan_deploy.processes import serve

def build(job, report):
    {}

serve(build)
"""


@pytest.fixture
def job(tmp_path):
    (tmp_path / "sampler.onnx").write_bytes(b"not ONNX")
    return EngineJob(
        runtime="tensorrt-rtx",
        model=ParserModel(b"not ONNX", {}),
        onnx=tmp_path / "sampler.onnx",
        plan=tmp_path / "sampler.rtx.plan",
        precision="fp32",
        kernels="portable",
        options=EngineOptions(),
    )


@pytest.fixture
def pretend(monkeypatch):
    """Has another program take the builder's place."""

    def take(program: str) -> None:
        monkeypatch.setattr(engine_process, "_COMMAND", (sys.executable, "-c", BUILDER.format(program)))

    return take


def only_the_graph(job):
    return [path.name for path in job.onnx.parent.iterdir()] == ["sampler.onnx"]


def test_progress_and_seconds_come_back_and_what_is_printed_goes_to_the_log(job, pretend):
    pretend(
        "open(str(job.plan) + '.log', 'w').write('built\\n'); print('noise', file=sys.stderr); "
        "report(0.5, 'x'); return 2.5"
    )
    told = []
    assert build_engine(job, lambda *message: told.append(message)) == 2.5
    assert told == [(0.5, "x")]
    assert log_path(job.plan).read_text() == "built\nnoise\n"
    assert not list(job.onnx.parent.glob("*.output"))


def test_an_error_of_the_real_builder_comes_back(job):
    with pytest.raises(GateError, match=r"TensorRT-RTX cannot take the graph of sampler\.onnx"):
        build_engine(job)
    assert only_the_graph(job)


def test_a_runtime_that_is_not_installed_is_wrong_input(job, pretend):
    pretend("raise NotInstalled('pip install it')")
    with pytest.raises(InputError, match="pip install it"):
        build_engine(job)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("os.kill(os.getpid(), 11)", "TensorRT-RTX ended by SIGSEGV while it built sampler.onnx"),
        ("os.kill(os.getpid(), 9)", "TensorRT-RTX ended by SIGKILL while it built sampler.onnx"),
        (
            "print('terminate called', file=sys.stderr, flush=True); os.abort()",
            "TensorRT-RTX ended by SIGABRT while it built sampler.onnx: terminate called",
        ),
        ("sys.exit(3)", "TensorRT-RTX ended with exit code 3 while it built sampler.onnx"),
    ],
)
def test_a_crash_is_one_line(job, pretend, program, message):
    pretend("report(0.1, 'x'); " + program)
    with pytest.raises(GateError) as caught:
        build_engine(job)
    assert str(caught.value) == message
    assert only_the_graph(job)


def test_a_builder_that_ends_before_it_reads_is_a_crash(job, monkeypatch):
    monkeypatch.setattr(engine_process, "_COMMAND", (sys.executable, "-c", "raise SystemExit(4)"))
    with pytest.raises(GateError, match="exit code 4"):
        build_engine(job)


def test_an_interruption_ends_the_builder_at_once(job, pretend, tmp_path):
    pretend("report(os.getpid(), 'pid'); time.sleep(600)")
    pids = []

    def interrupt(share, what):
        pids.append(share)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(job, interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert only_the_graph(job)


def test_kernels_are_compiled_there_and_not_interpreted(job, pretend, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    pretend("return float('TRITON_INTERPRET' in os.environ)")
    assert build_engine(job) == 0.0


def test_what_a_plugin_raised_is_told(job, pretend):
    pretend(
        "print('[ERROR] Exception caught in get_launch_params(): ValueError: no kernel', file=sys.stderr, flush=True); "
        "raise GateError('TensorRT cannot build sampler.onnx: internal')"
    )
    with pytest.raises(GateError) as caught:
        build_engine(job)
    says = "TensorRT cannot build sampler.onnx: internal; a plugin failed (get_launch_params(): ValueError: no kernel)"
    assert str(caught.value) == says
