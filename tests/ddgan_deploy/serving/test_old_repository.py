"""A model repository of before: `ddgan` was an ensemble of `ddgan_engine`, and of `ddgan_png`, which took images."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.serving.client import Client
from tests.ddgan_deploy.serving.stand_in import PROTOCOLS
from tests.ddgan_deploy.serving.traffic import decoded, metrics
from tests.deploy.conftest import DEPLOY
from tests.deploy.promql import RESPONSE_CACHE, served

SEEDS = [3, -1, 2**64 - 7, 3, *range(20)]
SEED = 'input [ { name: "seed" data_type: TYPE_INT64 dims: [ 1 ] } ]'
IMAGE = '{ name: "image" data_type: TYPE_UINT8 dims: [ 16, 16, 1 ] }'
PNG = '{ name: "png" data_type: TYPE_STRING dims: [ 1 ] }'
COMMON = "max_batch_size: 8 dynamic_batching { } instance_group [ { kind: KIND_CPU count: 1 } ]"
CONFIGS = {
    "ddgan": f"""
name: "ddgan" platform: "ensemble" max_batch_size: 8 {SEED} output [ {IMAGE}, {PNG} ]
ensemble_scheduling {{ step [
  {{ model_name: "ddgan_engine" model_version: -1
     input_map {{ key: "seed" value: "seed" }} output_map {{ key: "image" value: "image" }} }},
  {{ model_name: "ddgan_engine" model_version: -1
     input_map {{ key: "seed" value: "seed" }} output_map {{ key: "image" value: "pixels" }} }},
  {{ model_name: "ddgan_png" model_version: -1
     input_map {{ key: "image" value: "pixels" }} output_map {{ key: "png" value: "png" }} }} ] }}
""",
    "ddgan_engine": f"""
name: "ddgan_engine" backend: "python" {COMMON} {SEED} output [ {IMAGE} ] response_cache {{ enable: true }}
parameters {{ key: "artifact" value: {{ string_value: "artifact" }} }}
parameters {{ key: "engine" value: {{ string_value: "auto" }} }}
parameters {{ key: "threads" value: {{ string_value: "0" }} }}
""",
    "ddgan_png": f"""
name: "ddgan_png" backend: "python" {COMMON} input [ {IMAGE} ] output [ {PNG} ]
""",
}


@pytest.fixture(scope="module")
def before(serve, digits, tmp_path_factory):
    repository = tmp_path_factory.mktemp("before") / "model_repository"
    made = {"ddgan_engine": "ddgan", "ddgan_png": "ddgan_encoder"}
    for name, config in CONFIGS.items():
        version = repository / name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(config)
        if name in made:
            shutil.copytree(digits / "model_repository" / made[name] / "1", version, dirs_exist_ok=True)
    with serve(repository) as served:
        yield served


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_our_clients_draw(before, digits, protocol):
    with open_artifact(digits) as engine, Client(f"{protocol}://{getattr(before, protocol)}") as client:
        expected = engine.generate(SEEDS)
        np.testing.assert_array_equal(client.generate(SEEDS), expected)
        assert [decoded(file) for file in client.png(SEEDS)] == [image.tobytes() for image in expected]


@pytest.mark.parametrize("which", ["before", "server"])
def test_it_is_alive(request, which):
    url = f"http://{request.getfixturevalue(which).http}"
    assert subprocess.run([sys.executable, "-I", str(DEPLOY / "alive.py"), url], timeout=60).returncode == 0


def test_the_response_caches_metrics_are_what_the_dashboard_asks_for(before):
    names = {one.name for one in served() if one.name.startswith(RESPONSE_CACHE)}
    assert len(names) == 2
    for name in names:
        assert metrics(before, name, model="ddgan_engine"), name
