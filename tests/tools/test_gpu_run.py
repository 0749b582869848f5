"""What runs on a GPU machine, tried with commands that a machine without one has, and the tables of its results."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddgan_deploy import command

ROOT = Path(__file__).parents[2]
GPU = {
    "name": "NVIDIA Test", "driver_version": "580.1", "clocks.sm": "345 MHz", "clocks.max.sm": "1980 MHz",
    "clocks.mem": "3201 MHz", "clocks.max.mem": "3201 MHz",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _benchmarks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield


def job(code: str, name: str = "one", minutes: float = 1.0, **others: object):
    from jobs import Job

    return Job(name, (sys.executable, "-c", code), minutes, **others)


def run_all(results: Path, *jobs, minutes: float = 5.0):
    import run

    return run.run_all(jobs, results, minutes)


def kept(results: Path) -> dict[str, object]:
    return json.loads((results / "run.json").read_text())


def test_a_command_leaves_its_log_and_how_it_ended(tmp_path):
    codes = ("print('a'); print('last')", "import sys; print('why'); sys.exit(3)")
    done = run_all(tmp_path / "made", *(job(code, name) for code, name in zip(codes, ("one", "two"), strict=True)))
    assert [(each["outcome"], each["said"], each["exit_code"]) for each in done] == [
        ("done", "last", 0),
        ("failed", "why", 3),
    ]
    assert (tmp_path / "made/one.log").read_text() == "a\nlast\n"
    assert [each["name"] for each in kept(tmp_path / "made")["jobs"]] == ["one", "two"]


def test_variables_of_its_own(tmp_path):
    (done,) = run_all(tmp_path, job("import os; print(os.environ['A'])", environment=(("A", "b"),)))
    assert done["said"] == "b"


def test_its_limit_ends_it_and_what_it_started(tmp_path):
    code = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""
    with pytest.MonkeyPatch.context() as patch:
        import run

        patch.setattr(run, "_GRACE", 0.5)
        start = time.monotonic()
        (done,) = run_all(tmp_path, job(code, minutes=2 / 60))
    assert done["outcome"] == "cut off" and time.monotonic() - start < 20
    child = Path("/proc") / done["said"].strip()
    deadline = time.monotonic() + 20
    while child.exists() and "Z" not in (child / "stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_no_time_is_left_for_is_told(tmp_path):
    done = run_all(tmp_path, job("", "one"), minutes=0.0)
    assert (done[0]["outcome"], done[0]["said"]) == ("not run", "no time was left")


def test_a_program_that_is_missing_is_told(tmp_path):
    (done,) = run_all(tmp_path, job("", needs="no-such-program"))
    assert (done["outcome"], done["said"]) == ("not run", "no-such-program is not on PATH")


def test_results_of_other_commands_are_kept(tmp_path):
    run_all(tmp_path, job("print(1)", "one"), job("print(2)", "two"))
    run_all(tmp_path, job("print(3)", "two"))
    assert {each["name"]: each["said"] for each in kept(tmp_path)["jobs"]} == {"one": "1", "two": "3"}


def test_every_file_with_the_mark_is_among_the_tests(request):
    from jobs import test_jobs

    jobs = test_jobs()
    named = {each.command[3] for each in jobs}
    # All of them where the whole suite runs.
    marked = {item.path for item in request.session.items if item.get_closest_marker("gpu")}
    assert {str(path.relative_to(ROOT)) for path in marked} <= named
    assert len({each.name for each in jobs}) == len(jobs) == len(named) >= 5
    assert jobs[0].command[3] == "tests/kernels/test_tl_kernels.py"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["measure", "--only", "nothing"], "choose from kernels, sampler-"),
        (["measure", "--minutes", "0"], "out of range"),
        (["measure", "--minutes", "nan"], "out of range"),
        (["neither"], "invalid choice"),
        (["test", "--results", "/proc/none/here"], "cannot be written"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, message, capsys):
    import run

    assert command.run(run.main, arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said and said.count("\n") == 1


def test_results_that_cannot_be_read_are_refused_before_anything_runs(tmp_path, capsys):
    import run

    (tmp_path / "run.json").write_text("{")
    assert command.run(run.main, ["measure", "--results", str(tmp_path), "--only", "kernels"]) == 2
    assert "run.json cannot be read" in capsys.readouterr().err and not (tmp_path / "kernels.log").exists()


def test_what_did_not_run_takes_nothing_away(tmp_path):
    run_all(tmp_path, job("print(1)", "one"))
    run_all(tmp_path, job("print(2)", "one"), job("", "two"), minutes=0.0)
    assert {each["name"]: each["outcome"] for each in kept(tmp_path)["jobs"]} == {"one": "done", "two": "not run"}


def test_tests_that_are_all_skipped_are_not_done(tmp_path):
    for said, outcome in (
        ("3 skipped", "skipped"),
        ("1 passed, 3 skipped", "done"),
        ("3 skipped, 9 deselected", "skipped"),
    ):
        (done,) = run_all(tmp_path, job(f"print('=== {said} in 0.1s ===')"))
        assert done["outcome"] == outcome


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_job_and_is_noted(tmp_path, number):
    code = f"""
import sys
sys.path[:0] = [{str(ROOT / "tools/gpu_machine")!r}]
import run
from ddgan_deploy import command
from jobs import Job
sleeping = (sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
run.test_jobs = lambda: [Job("sleeps", sleeping, 1.0)]
sys.exit(command.run(run.main, ["test", "--results", {str(tmp_path)!r}]))
"""
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
        log, deadline = tmp_path / "sleeps.log", time.monotonic() + 60
        while not (log.exists() and log.read_text().endswith("\n")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and said == "error: interrupted: what ran before is kept\n"
    assert kept(tmp_path)["jobs"][0]["outcome"] == "interrupted"
    assert not (Path("/proc") / log.read_text().strip()).exists()


def test_what_is_worth_most_comes_first(tmp_path):
    from jobs import measure_jobs

    names = [each.name for each in measure_jobs(tmp_path, gpu=True)]
    assert names == [
        *("kernels", "sampler-cifar10", "sampler-celebahq256", "sampler-tensorrt", "sampler-tensorrt-rtx"),
        *("memcheck", "racecheck"),
        *("profile-1", "profile-2", "profile-3"),
    ]


# Tables


def a_run(folder: Path, gpu: dict[str, str]) -> Path:
    ended = {
        "outcome": "cut off",
        "seconds": 360.0,
        "said": "a | b",
        "gpu": gpu,
        "gpu_after": gpu,
        "date": "2026-01-02",
    }
    jobs = [{"name": name, **ended} for name in ("kernels", "sampler-cifar10")]
    (folder / "run.json").write_text(json.dumps({"jobs": jobs}))
    return folder


def test_tables_of_what_a_gpu_gave(tmp_path):
    import gpu

    environment = {"device": "NVIDIA Test", "copy_bytes_per_s": 4e12, "torch": "2", "cuda": "13", "triton": "3"}
    row = {"op": "AdaGN", "shape": "1x2x3x4", "dtype": "float16", "layout": "nhwc", "failed": None}
    times = {"ours_us": 10.0, "called_us": 20.04, "eager_us": 30.0, "compile_us": None, "limit_us": 5.0, "share": 0.5}
    none = dict.fromkeys(times, None) | {"failed": "OutOfMemoryError: none left"}
    (tmp_path / "kernels.json").write_text(json.dumps({"environment": environment, "rows": [row | times, row | none]}))
    told = "\n".join(gpu.lines(a_run(tmp_path, GPU)))
    assert told.startswith(
        "kernels: NVIDIA Test, driver 580.1, clocks at the end: SM 345 MHz of 1980 MHz, memory 3201 MHz of"
    )
    assert "copies 4000 GB/s" in told
    assert "| AdaGN | 1x2x3x4 | float16 | nhwc | 10.0 | 20.0 | 30.0 | - | 5.0 | 50% |" in told
    assert "| - | - | - | - | - | OutOfMemoryError: none left |" in told
    assert "| kernels | cut off | 360 | a \\| b |" in told


def test_what_did_not_run_on_a_gpu_is_told(tmp_path, monkeypatch):
    import gpu
    import run

    monkeypatch.setattr(run, "gpu", lambda: GPU)
    run_all(tmp_path, job("", "one"), minutes=0.0)
    run_all(tmp_path, job("", "two", needs="no-such-program"))
    told = "\n".join(gpu.lines(tmp_path))
    assert "| one | not run | 0 | no time was left |" in told
    assert "| two | not run | 0 | no-such-program is not on PATH |" in told


def test_rows_of_the_cpu_are_left_out(tmp_path):
    import gpu

    row = {
        "engine": "onnxruntime", "device": "cpu", "precision": "fp32", "batch": 1, "median_ms": 1.0, "p95_ms": 1.0,
        "images_per_s": 1.0, "speedup_vs_eager": None, "roofline_share": None, "gpu_peak_mb": None, "doubtful": None,
    }  # fmt: skip
    ours = row | {"engine": "onnxruntime-cuda", "device": "cuda", "images_per_s": 1234.0}
    environment = {"gpu": "NVIDIA Test", "versions": {"torch": "2.11.0"}}
    skipped = [{"engine": "tensorrt", "reason": "it is not installed", "batch": None}]
    result = {"rows": [row, ours], "environment": environment, "skipped": skipped}
    (tmp_path / "sampler-cifar10.json").write_text(json.dumps({"cifar10": result}))
    told = "\n".join(gpu.lines(a_run(tmp_path, GPU)))
    assert "| onnxruntime-cuda | fp32 | 1 |" in told and "| 1234 |" in told and "| onnxruntime |" not in told
    assert "- not measured: tensorrt: it is not installed" in told


@pytest.mark.parametrize("here", [None, {}])
def test_figures_that_no_gpu_gave_are_not_printed(tmp_path, here, capsys):
    import gpu

    if here is not None:
        a_run(tmp_path, here)
    assert command.run(gpu.main, ["--json", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1


def test_a_file_that_is_damaged_is_one_line(tmp_path, capsys):
    import gpu

    (a_run(tmp_path, GPU) / "kernels.json").write_text("{")
    assert command.run(gpu.main, ["--json", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "kernels.json cannot be read" in said.err
