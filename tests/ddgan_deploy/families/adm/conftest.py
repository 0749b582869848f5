"""Small networks in files, and what becomes of them with whatever is said of them."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.errors import InputError
from tests.ddgan_deploy.families.adm.small import ARGUMENTS, NETWORKS, one_line


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, it in NETWORKS.items():
        save_file(it.weights, folder / f"{name}.safetensors")
    torch.save(
        {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}, folder / "opt.pt"
    )
    return folder


@pytest.fixture
def sampled(files, tmp_path):
    """Reads a checkpoint and settles how it is sampled from; files are given by name, or as weights."""

    def path(what, name):
        if isinstance(what, str):
            return files / what
        save_file(what, tmp_path / name)
        return tmp_path / name

    def run(ckpt="unet.safetensors", config=ARGUMENTS, classifier=None, steps=5, **asked):
        config_path = None
        if config is not None:
            config_path = tmp_path / "config.json"
            config_path.write_text(config if isinstance(config, str) else json.dumps(config))
        if classifier is not None:
            asked["classifier"] = path(classifier, "guide.safetensors")
        return load_checkpoint(path(ckpt, "changed.safetensors"), config_path, asked=asked).choose(steps)

    return run


@pytest.fixture
def refused(sampled, files, tmp_path):
    """The one line, without the folders of files."""

    def run(*args, **options):
        with pytest.raises(InputError) as caught:
            sampled(*args, **options)
        return one_line(str(caught.value).replace(f"{files}/", "").replace(f"{tmp_path}/", ""))

    return run
