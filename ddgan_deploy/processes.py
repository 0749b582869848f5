"""What processes of ours ask of the kernel."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def ended_with_parent(number: int) -> Callable[[], object]:
    """What a process calls to get a signal when its parent ends, however that ends; on Linux alone it does something.

    It is one call into C, so that it can be called between fork and exec.

    Args:
        number: of the signal.
    """
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, number)
