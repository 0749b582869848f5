"""What the tests do where there are only the sources, on PYTHONPATH, beside fewer packages than ``[dev]`` names.

A machine without a network is like that. A file or a test that imports a package that is not there is skipped. Where
ddgan-deploy has been installed, as wherever ``make`` and continuous integration run, it fails.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from collections.abc import Generator
from typing import Any

import pytest

from ddgan_deploy.errors import NotInstalled


@functools.cache
def sources_only() -> bool:
    """Whether this package is not installed: pip knows nothing of it."""
    try:
        importlib.metadata.distribution("ddgan-deploy")
    except importlib.metadata.PackageNotFoundError:
        return True
    return False


def lacking(error: BaseException | None) -> str | None:
    """What it says of the package for whose absence alone there is the error.

    A part that a package has not in its version here is none: that is a failure everywhere.
    """
    while error is not None:
        if isinstance(error, NotInstalled):
            return str(error)
        if isinstance(error, ModuleNotFoundError) and error.name:
            package = error.name.partition(".")[0]
            if importlib.util.find_spec(package) is None:
                return f"{package} is not installed"
        error = error.__cause__
    return None


def pytest_exception_interact(
    node: pytest.Item | pytest.Collector,
    call: pytest.CallInfo[Any],
    report: pytest.CollectReport | pytest.TestReport,
) -> None:
    # Of a test it tells too late: the report has been written.
    if isinstance(report, pytest.CollectReport):
        _skip(node, call, report)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _skip(item, call, report)
    return report


def _skip(
    node: pytest.Item | pytest.Collector,
    call: pytest.CallInfo[Any],
    report: pytest.CollectReport | pytest.TestReport,
) -> None:
    """Makes a failure for a package that is not there a skip that names it."""
    if report.failed and call.excinfo is not None and sources_only():
        reason = lacking(call.excinfo.value)
        if reason is not None:
            report.outcome = "skipped"
            report.longrepr = (str(node.path), 0, f"Skipped: {reason}")
