"""Small consistency models in files, and what becomes of them with whatever is said of them."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import save_file

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.errors import InputError
from tests.ddgan_deploy.families.adm.small import one_line
from tests.ddgan_deploy.families.consistency.small import ARGUMENTS, CLASSES, stored


@pytest.fixture
def read(tmp_path):
    """Reads weights out of a file of a name, with a config or without."""

    def run(content=None, config=ARGUMENTS, name="model.safetensors", **options):
        save_file(stored(CLASSES) if content is None else content, tmp_path / name)
        path = None
        if config is not None:
            path = tmp_path / "config.json"
            path.write_text(json.dumps(config))
        return load_checkpoint(tmp_path / name, path, **options)

    return run


@pytest.fixture
def refused(read, tmp_path):
    """The one line, without the folders of files."""

    def run(*args, steps=None, **options):
        with pytest.raises(InputError) as caught:
            read(*args, **options).choose(steps)
        return one_line(str(caught.value).replace(f"{tmp_path}/", ""))

    return run
