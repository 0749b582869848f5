"""What every command does alike: exit codes, one-line errors."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.screen import note, take_any_text

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise InputError(f"{message}; see {self.prog} --help")


def run(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Runs a command: 0 done, or the code that it returns; 1 a gate failed, 2 wrong input, with one line on stderr."""
    if threading.current_thread() is threading.main_thread():
        # As Ctrl-C, so that nothing is left behind.
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
    take_any_text()
    try:
        code = main(argv)
        if sys.stdout is not None:
            sys.stdout.flush()
    except InputError as error:
        return _say(error, WRONG_INPUT)
    except GateError as error:
        return _say(error, FAILED)
    except BrokenPipeError:
        # The reader of our output has gone, as in `ddgan-verify ... | head`.
        _discard_output()
        return DONE
    except OSError as error:
        if error.filename is None:
            _discard_output()
        place = error.filename or "standard output"
        return _say(f"{place} cannot be used ({error.strerror or error}): choose another place", WRONG_INPUT)
    except KeyboardInterrupt as error:
        return _say(str(error) or "interrupted", INTERRUPTED)
    return code or DONE


def _discard_output() -> None:
    """Lets the interpreter end without writing what is still to be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(error: object, code: int) -> int:
    note(f"error: {error}")
    return code
