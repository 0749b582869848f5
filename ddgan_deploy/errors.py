"""How a command ends short of its goal."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave is wrong; the message is one line that names it and the fix (exit code 2)."""


class NotInstalled(InputError):
    """The runtime that the user asked for is not there, or not for this processor."""


class GateError(RuntimeError):
    """The work itself failed a gate, such as parity or a build (exit code 1)."""
