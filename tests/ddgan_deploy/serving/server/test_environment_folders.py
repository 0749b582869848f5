"""What the python backend leaves in /tmp goes, and nothing else does."""

from __future__ import annotations

import os
import signal

import pytest

from ddgan_deploy.serving.server import environment_folders as module
from ddgan_deploy.serving.server.environment_folders import environment_folders_removed


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Where they are, with no server but those in the set."""
    servers: set[str] = set()
    monkeypatch.setattr(module, "_FOLDERS", tmp_path)
    monkeypatch.setattr(module, "_servers", servers.copy)
    return tmp_path, servers


def test_an_empty_folder_of_the_block_goes_and_no_other(folders):
    folder, servers = folders
    # It had loaded its backend before.
    servers.add("1")
    (folder / "python_env_aaaaaa").mkdir()
    with environment_folders_removed():
        for name in ("python_env_bbbbbb", "python_env_cccccc", "python_env_longer1", "other"):
            (folder / name).mkdir()
        (folder / "python_env_cccccc" / "0").mkdir()
        (folder / "python_env_dddddd").symlink_to(folder / "other")
        (folder / "python_env_eeeeee").touch()
    assert {path.name for path in folder.iterdir()} == {
        "python_env_aaaaaa",
        "python_env_cccccc",
        "python_env_dddddd",
        "python_env_eeeeee",
        "python_env_longer1",
        "other",
    }


def test_it_goes_after_an_error_too(folders):
    def fail():
        with environment_folders_removed():
            (folders[0] / "python_env_aaaaaa").mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not list(folders[0].iterdir())


def test_what_may_be_another_server_s_stays(folders):
    folder, servers = folders
    with environment_folders_removed():
        (folder / "python_env_aaaaaa").mkdir()
        servers.add("2")
    assert [path.name for path in folder.iterdir()] == ["python_env_aaaaaa"]


def test_another_user_s_is_not_ours(folders, monkeypatch):
    folder, _ = folders
    with environment_folders_removed():
        (folder / "python_env_aaaaaa").mkdir()
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert [path.name for path in folder.iterdir()] == ["python_env_aaaaaa"]


def test_a_server_that_is_killed_leaves_none(serve, monkeypatch):
    seen, look = [], module._servers
    monkeypatch.setattr(module, "_servers", lambda: seen.append(look()) or seen[-1])
    before = module._folders()
    with serve() as served:
        assert str(served.pid) in look() - seen[0]
        made = module._folders() - before
        assert made
        os.killpg(served.pid, signal.SIGKILL)
    # Another worker of these tests may have started a server meanwhile.
    assert seen[-1] - seen[0] or not any(folder.exists() for folder in made)
