"""What commands print: names as they are, on any stdout, and signs of life where there is no terminal."""

from __future__ import annotations

import ast
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import ddgan_deploy.cli
from ddgan_deploy import command as common
from ddgan_deploy import screen
from ddgan_deploy.errors import InputError
from ddgan_deploy.screen import StepList, print_table, say, table_of

HOSTILE = os.fsdecode(b"[b]net[/b] :smile: \x1b[31m\n\xff\xc3\xb6{x}")
SHOWN = r"[b]net[/b] :smile: \x1b[31m\n\xffö{x}"


def test_lines_hold_names_as_they_are(capsys):
    say(f"made {HOSTILE}")
    assert capsys.readouterr().out == f"made {SHOWN}\n"


def test_tables_hold_names_as_they_are(capsys):
    table = table_of("[b]name[/b]", "size", numbers=1)
    table.add_row(HOSTILE, "7")
    long = "/".join(["[folder]" * 10] * 40)
    table.add_row(long, "8")
    print_table(table)
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if line.endswith(" 7")]
    assert row.split("  ")[1].strip() == SHOWN
    assert any(line.split() == [long, "8"] for line in lines), "a name is one piece"
    assert any(line.split() == ["[b]name[/b]", "size"] for line in lines)


def test_an_error_is_one_line(capsys):
    def main(argv):
        raise InputError(f"{HOSTILE}  x is wrong")

    assert common.run(main) == common.WRONG_INPUT
    assert capsys.readouterr().err == f"error: {SHOWN}  x is wrong\n"


SCRIPT = """
import os, sys
from ddgan_deploy.command import run
from ddgan_deploy.screen import StepList, print_table, say, table_of

def main(argv):
    with StepList()("Read \\u00f6"):
        pass
    table = table_of("name")
    table.add_row(os.fsdecode(b"\\xc3\\xb6\\xff"))
    print_table(table)
    say("\\u00d7 \\u2713")

sys.exit(run(main))
"""


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"PYTHONIOENCODING": "utf-8"}, r"ö\xff"),
        ({"PYTHONIOENCODING": "ascii"}, r"\xf6\xff"),
        ({"PYTHONIOENCODING": "latin-1:strict"}, r"ö\xff"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, r"\xc3\xb6\xff"),
    ],
    ids=str,
)
def test_what_stdout_cannot_encode_is_escaped(environment, shown):
    done = subprocess.run([sys.executable, "-c", SCRIPT], env={**os.environ, **environment}, capture_output=True)
    assert done.returncode == 0, done.stderr
    encoding = "latin-1" if "latin" in str(environment) else "utf-8"
    assert shown in done.stdout.decode(encoding)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_finished_work_needs_no_screen(closed):
    done = subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, SCRIPT], capture_output=True)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)


def test_commands_print_by_one_function():
    """What goes by print or by a Console of its own would be markup, or end a command by its encoding."""
    files = [
        *Path(ddgan_deploy.cli.__file__).parent.glob("*.py"),
        Path(ddgan_deploy.cli.__file__).parents[1] / "export" / "cli.py",
    ]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if path.name != "screen.py" and isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "Console"), path


def test_an_error_goes_to_nobody_where_stderr_is_closed(tmp_path):
    code = "from ddgan_deploy.export.cli import main; raise SystemExit(main(['--ckpt', 'nowhere', '--steps', '2']))"
    command = f'exec "$0" -c "$1" 2>&- >"{tmp_path / "out"}"'
    ended = subprocess.run(["sh", "-c", command, sys.executable, code], cwd=tmp_path)
    assert ended.returncode == 2 and (tmp_path / "out").read_text() == ""


# Stops


def test_stops_are_told_with_the_result(capsys):
    progress = StepList()
    with progress("Read the checkpoint"):
        pass
    assert capsys.readouterr().err == ""
    say("done")
    said = capsys.readouterr()
    assert said.out == "done\n"
    (line,) = said.err.splitlines()
    assert line.startswith("Read the checkpoint ") and line.endswith(" s")


def test_a_wrong_input_is_found_in_silence(capsys):
    def main(argv):
        progress = StepList()
        with progress("Read the checkpoint"):
            pass
        with progress("Read another"):
            raise InputError("wrong")

    assert common.run(main) == common.WRONG_INPUT
    StepList()
    say("another command")
    assert capsys.readouterr().err == "error: wrong\n"


def test_long_work_shows_life(capsys, monkeypatch):
    monkeypatch.setattr(screen, "PATIENCE", 0.01)
    monkeypatch.setattr(screen, "INTERVAL", 0.01)
    said, told = [], threading.Event()

    def note(line):
        said.append(line)
        if "7 of 10" in line:
            told.set()

    monkeypatch.setattr(screen, "note", note)
    with StepList()("Build [b]") as report:
        report(0.7, "7 of 10")
        assert told.wait(60)
    assert "Build [b] ... 0 s so far, 70% done, 7 of 10" in said
    assert said[-1].startswith("Build [b]    ") and said[-1].endswith(" s")


def test_work_goes_on_where_nobody_reads_of_it(monkeypatch):
    monkeypatch.setattr(screen, "PATIENCE", 0)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        monkeypatch.setattr(sys, "stderr", gone)
        with StepList()("Read the checkpoint"):
            pass
        monkeypatch.undo()
        # What is left in its buffer cannot be written either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)


def test_a_terminal_ticks_names_off_as_they_are():
    code = f"""
from ddgan_deploy.screen import StepList
with StepList()({HOSTILE!r}) as report:
    report(0.5, {HOSTILE!r})
"""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # The other end is closed.
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0
    text = shown.decode()
    assert f"{SHOWN} ..." in text
    assert "✓" in text and text.rstrip().endswith(" s")
    assert text.count(SHOWN) >= 3, "the bar, what it does, the line"
