"""Packages that are not there: a skip where there are only the sources, a failure where ddgan-deploy is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages import ROOT

_CONFTEST = """
from tests import sources_only

sources_only.sources_only = lambda: {}

def pytest_configure(config):
    config.pluginmanager.register(sources_only)
"""
_FILE = "import no_such_package.part\n\ndef test_nothing(): pass\n"
_TESTS = """
import pytest

@pytest.fixture
def lacks():
    import no_such_package

def test_in_a_fixture(lacks): pass

def test_in_itself():
    try:
        import no_such_package
    except ImportError as error:
        raise RuntimeError("it is needed") from error

def test_an_engine():
    from ddgan_deploy.errors import NotInstalled

    raise NotInstalled("an engine needs what is not installed")

def test_a_package_that_is_too_old():
    import numpy.no_such_part

def test_wrong():
    assert False
"""


@pytest.mark.parametrize(("only", "expected"), [(True, "2 failed, 4 skipped"), (False, "4 failed, 2 errors")])
def test_what_lacks_a_package(only: bool, expected: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(_CONFTEST.format(only))
    (tmp_path / "test_file.py").write_text(_FILE)
    (tmp_path / "test_tests.py").write_text(_TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--continue-on-collection-errors"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(expected), done.stdout
    assert (": no_such_package is not installed" in done.stdout) == only
    assert ("SKIPPED" in done.stdout) == only
