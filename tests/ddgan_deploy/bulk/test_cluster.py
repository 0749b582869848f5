"""A real Ray cluster of several node processes on this machine: the same bytes, whoever draws and whoever dies."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster

from ddgan_deploy.bulk import cluster as module
from ddgan_deploy.bulk.cluster import ClusterOptions, on_ray
from ddgan_deploy.bulk.plan import Plan, Source
from ddgan_deploy.bulk.run import BulkOptions, bulk
from ddgan_deploy.cli import bulk as command
from ddgan_deploy.errors import GateError, InputError

TOKEN = "0123456789abcdef" * 4
PLAN = Plan("0-79", {"gain": 2.0}, "webdataset", shard_size=4, batch=2)


@pytest.fixture(scope="module")
def nodes():
    """A cluster of three nodes with a CPU each, all of them on loopback; yields it and the two that may go."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Else nodes look for an address that other machines reach, and listen there.
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        patch.setattr(ray._private.ray_constants, "ENABLE_RAY_CLUSTER", False)
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", TOKEN)
        ray._raylet.Config.initialize("")
        small = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args={**small, "node_ip_address": "127.0.0.1"})
        others = [cluster.add_node(num_cpus=1, object_store_memory=80 << 20) for _ in range(2)]
        yield cluster, others
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def whole(toy, tmp_path_factory):
    """What one process draws."""
    return contents(bulk(BulkOptions(PLAN, Source((toy,)), tmp_path_factory.mktemp("one") / "out")))


def contents(result):
    return {path.name: path.read_bytes() for path in result.files}


def drawn(nodes, artifact, out, plan=PLAN, engine="auto", **cluster):
    hire = on_ray(ClusterOptions(nodes[0].address, **cluster))
    return bulk(BulkOptions(plan, Source((artifact,), engine), out), hire)


def test_equal_bytes_from_one_worker_and_from_three(nodes, toy, whole, tmp_path):
    for workers in (1, None):
        assert contents(drawn(nodes, toy, tmp_path / f"{workers}", workers=workers)) == whole


def test_workers_write_where_all_machines_have_the_folder(nodes, toy, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_write", None)
    assert contents(drawn(nodes, toy, tmp_path / "out", shared=tmp_path / "out")) == whole


def test_folders_of_files(nodes, toy, tmp_path):
    plan = Plan("0-9", format="png", shard_size=4)
    files = drawn(nodes, toy, tmp_path / "many", plan).files
    alone = bulk(BulkOptions(plan, Source((toy,)), tmp_path / "one")).files
    for one, other in zip(files, alone, strict=True):
        assert {path.name: path.read_bytes() for path in one.iterdir()} == {
            path.name: path.read_bytes() for path in other.iterdir()
        }


def test_labels_of_every_image_reach_the_workers(nodes, toy, tmp_path):
    plan = Plan("0-9", {"label": np.arange(10) % 8}, shard_size=3)
    (file,) = drawn(nodes, toy, tmp_path / "out", plan).files
    assert np.load(file)["arr_1"].tolist() == [*range(8), 0, 1]


def test_a_wrong_engine_is_one_line(nodes, toy, tmp_path):
    with pytest.raises(InputError, match=r"^on a machine of the cluster: engine 'none' is unknown: choose auto"):
        drawn(nodes, toy, tmp_path / "out", engine="none")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "reason"),
    [("127.0.0.1:1", "Connection refused"), ("nowhere", "HOST:PORT"), ("other", "what listens there is no cluster")],
)
def test_no_cluster(toy, tmp_path, monkeypatch, capsys, address, reason):
    monkeypatch.setattr(module, "_HEALTH", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}" if address == "other" else address
        arguments = ["--seeds", "0-3", "--out", str(tmp_path / "out"), "--ray", address, "--workers", "1"]
        assert command.main([str(toy), *arguments]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: no Ray cluster at {address} (") and reason in said
    assert said.endswith("or give --ray local") and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given", [{}, {"RAY_AUTH_MODE": "token"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}]
)
def test_a_cluster_that_wants_a_token(nodes, toy, tmp_path, given):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    environment |= {**given, "HOME": str(tmp_path)}
    arguments = ["--seeds", "0-3", "--out", str(tmp_path / "out"), "--ray", nodes[0].address]
    done = subprocess.run(
        [sys.executable, "-m", "ddgan_deploy.cli.bulk", str(toy), *arguments],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert done.stderr.splitlines()[-1].startswith(
        f"error: the Ray cluster at {nodes[0].address} wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH"
    )


def test_a_cluster_for_one_run_and_an_end_that_was_asked_for(toy, whole, tmp_path):
    """A cluster that the environment names is not asked."""
    environment = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1"}
    plan = ["--seeds", PLAN.seeds, "--set", "gain=2", "--format", PLAN.format, "--shard-size", "4", "--batch", "2"]
    arguments = [str(toy), *plan, "--out", str(tmp_path / "out"), "--resume", "--ray", "local", "--workers", "1"]
    slow = "import time; from ddgan_deploy.bulk import cluster as c; write = c._write\n"
    slow += "c._write = lambda *others: time.sleep(0.2) or write(*others)\n"
    slow += "import sys; from ddgan_deploy.cli.bulk import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", slow, *arguments], stderr=subprocess.PIPE, text=True, env=environment
    )
    while not (tmp_path / "out" / "000001.tar").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("error: interrupted; shards in ")
    subprocess.run([sys.executable, "-m", "ddgan_deploy.cli.bulk", *arguments], check=True, env=environment)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.tar")} == whole


def test_a_shard_that_ends_its_workers(nodes, toy, tmp_path, monkeypatch):
    """Not for ever, and what is there stays."""

    class Mortal(module.Worker):
        def draw(self, shard):
            import os

            if shard.number == 3:
                os._exit(1)
            return super().draw(shard)

    monkeypatch.setattr(module, "Worker", Mortal)
    with pytest.raises(GateError, match=r"shard 3 has ended 3 workers.*shards in .*out: \d+, go on with --resume"):
        drawn(nodes, toy, tmp_path / "out", workers=1)


def test_workers_that_never_begin(nodes, toy, tmp_path, monkeypatch):
    class Stillborn(module.Worker):
        def open(self, artifacts):
            import os

            os._exit(1)

    monkeypatch.setattr(module, "Worker", Stillborn)
    with pytest.raises(GateError, match="workers end before they begin"):
        drawn(nodes, toy, tmp_path / "out", workers=1)


def test_no_room_for_a_worker(nodes, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 1.0)
    monkeypatch.setattr(module, "shares", lambda *_: (1, 1, {"num_cpus": 64}))
    with pytest.raises(GateError, match=r"no worker \(num_cpus 64\) has begun in 1 s: see `ray status`"):
        drawn(nodes, toy, tmp_path / "out")


def test_machines_that_differ(nodes, toy, tmp_path, monkeypatch):
    class Other(module.Worker):
        def open(self, artifacts):
            super().open(artifacts)
            return f"engine of {id(self)}"

    monkeypatch.setattr(module, "Worker", Other)
    with pytest.raises(InputError, match="machines differ, one draws on .* and one on .*: name one in --engine"):
        drawn(nodes, toy, tmp_path / "out")


def test_a_machine_that_dies(nodes, toy, whole, tmp_path, monkeypatch):
    """While its worker draws; the others draw its shard again. The last test: the machine is gone."""
    cluster, others = nodes

    class Slow(module.Worker):
        def draw(self, shard):
            import time

            time.sleep(0.2)
            return super().draw(shard)

    lost, write = [], module._write

    def dying(target, files, is_folder):
        if others and target.name == "000004.tar":
            cluster.remove_node(others.pop(), allow_graceful=False)
        write(target, files, is_folder)

    replace = module._Cluster._replace
    monkeypatch.setattr(module, "Worker", Slow)
    monkeypatch.setattr(module, "_write", dying)
    monkeypatch.setattr(
        module._Cluster, "_replace", lambda self, shard, error: lost.append(shard) or replace(self, shard, error)
    )
    assert contents(drawn(nodes, toy, tmp_path / "out")) == whole
    assert len(others) == 1 and len(lost) == 1 and lost[0] is not None
    assert json.loads((tmp_path / "out" / "bulk.json").read_text())["complete"]
