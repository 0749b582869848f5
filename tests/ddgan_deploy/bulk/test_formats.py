"""Each format, as its own library reads it: the pixels, seeds and classes that the engine draws."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import numpy as np
import pyarrow.parquet
import pytest
import webdataset
from PIL import Image

from ddgan_deploy import open_artifact
from ddgan_deploy.bulk.formats import FORMATS
from ddgan_deploy.bulk.plan import Plan, Source
from ddgan_deploy.bulk.run import BulkOptions, bulk
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import draw

SEEDS = "7,3,2-20,5"
LIST = [7, 3, *range(2, 21), 5]


def run(artifact, out, name, **others):
    knobs = {"gain": 2.0} if others.pop("knobs", True) else {}
    plan = Plan(SEEDS, knobs, name, shard_size=8, batch=3)
    return bulk(BulkOptions(plan, Source((artifact,)), out, **others)).files


@pytest.fixture(scope="module")
def expected(toy):
    """What the engine draws, and the classes that the seeds decide."""
    with open_artifact(toy) as engine:
        labels = draw(engine.artifact.manifest.sampler, LIST)["label"][:, 0]
        return engine.generate(LIST, gain=2.0), labels


def test_npz_is_one_archive_as_the_evaluators_read_it(toy, tmp_path, expected):
    (path,) = run(toy, tmp_path / "out", "npz")
    assert path.name == "samples_22x8x8x3.npz"
    assert {each.name for each in path.parent.iterdir()} == {path.name, "bulk.json"}
    with np.load(path) as arrays:
        assert list(arrays) == ["arr_0", "arr_1"]
        np.testing.assert_array_equal(arrays["arr_0"], expected[0])
        np.testing.assert_array_equal(arrays["arr_1"], expected[1])
        assert arrays["arr_0"].dtype == np.uint8 and arrays["arr_1"].dtype == np.int64
    # Evaluators read the header, and then the elements in pieces.
    with zipfile.ZipFile(path) as archive, archive.open("arr_0.npy") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        assert np.lib.format.read_array_header_1_0(file) == ((22, 8, 8, 3), False, np.uint8)


def test_shards_of_npz_can_be_kept(toy, tmp_path, expected):
    files = run(toy, tmp_path / "out", "npz", keep_shards=True)
    assert [path.name for path in files] == ["000000.npz", "000001.npz", "000002.npz"]
    parts = [np.load(path) for path in files]
    np.testing.assert_array_equal(np.concatenate([part["arr_0"] for part in parts]), expected[0])
    np.testing.assert_array_equal(np.concatenate([part["arr_1"] for part in parts]), expected[1])


def test_an_artifact_without_classes_has_none(biggan, exports, tmp_path):
    plan = Plan("0-2", shard_size=2)
    (path,) = bulk(BulkOptions(plan, Source((exports.golden(biggan).path,)), tmp_path / "out")).files
    assert list(np.load(path)) == ["arr_0"]


def test_webdataset(toy, tmp_path, expected):
    files = run(toy, tmp_path / "out", "webdataset")
    assert [path.name for path in files] == ["000000.tar", "000001.tar", "000002.tar"]
    read = webdataset.WebDataset([str(path) for path in files], shardshuffle=False).decode("rgb8")
    samples = list(read)
    assert [sample["__key__"] for sample in samples] == [f"{place:09d}" for place in range(22)]
    np.testing.assert_array_equal(np.stack([sample["png"] for sample in samples]), expected[0])
    assert [sample["cls"] for sample in samples] == expected[1].tolist()
    told = [{"seed": seed, "gain": 2.0, "label": label} for seed, label in zip(LIST, expected[1].tolist(), strict=True)]
    assert [sample["json"] for sample in samples] == told


def test_parquet(toy, tmp_path, expected):
    files = run(toy, tmp_path / "out", "parquet")
    table = pyarrow.concat_tables([pyarrow.parquet.read_table(path) for path in files])
    assert table.column("seed").to_pylist() == LIST
    assert table.column("label").to_pylist() == expected[1].tolist()
    assert table.column("gain").to_pylist() == [2.0] * 22
    pictures = [np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in table.column("image").to_pylist()]
    np.testing.assert_array_equal(np.stack(pictures), expected[0])
    features = json.loads(pyarrow.parquet.read_schema(files[0]).metadata[b"huggingface"])["info"]["features"]
    assert features == {
        "image": {"_type": "Image"},
        "seed": {"dtype": "uint64", "_type": "Value"},
        "gain": {"dtype": "float", "_type": "Value"},
        "label": {"dtype": "int64", "_type": "Value"},
    }


def test_parquet_in_several_groups_of_rows(toy, tmp_path, expected, monkeypatch):
    monkeypatch.setattr("ddgan_deploy.bulk.formats.parquet._GROUP_BYTES", 500)
    first = run(toy, tmp_path / "out", "parquet")[0]
    file = pyarrow.parquet.ParquetFile(first)
    assert file.num_row_groups == 3 and file.read().column("seed").to_pylist() == LIST[:8]


def test_png_folders_with_classes(toy, tmp_path, expected):
    files = run(toy, tmp_path / "out", "png")
    assert [path.name for path in files] == ["00000", "00001", "00002"]
    listed = json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"]
    assert [label for _, label in listed] == expected[1].tolist()
    assert listed[8][0] == "00001/img00000008.png"
    pictures = [np.asarray(Image.open(tmp_path / "out" / name)) for name, _ in listed]
    np.testing.assert_array_equal(np.stack(pictures), expected[0])
    assert sum(len(list(path.iterdir())) for path in files) == 22


@pytest.mark.parametrize("name", FORMATS)
def test_equal_images_are_equal_files(toy, tmp_path, name):
    """Whenever they are drawn: see the next test for what has a clock's time in it."""
    first, second = run(toy, tmp_path / "a", name), run(toy, tmp_path / "b", name)
    for one, other in zip(first, second, strict=True):
        pairs = [(one, other)] if one.is_file() else [(each, other / each.name) for each in one.iterdir()]
        assert all(a.read_bytes() == b.read_bytes() for a, b in pairs)


def test_no_file_tells_the_time(toy, tmp_path):
    with zipfile.ZipFile(run(toy, tmp_path / "npz", "npz")[0]) as archive:
        assert {each.date_time for each in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with tarfile.open(run(toy, tmp_path / "tar", "webdataset")[0]) as archive:
        assert {each.mtime for each in archive} == {0}


@pytest.mark.parametrize("name", ["webdataset", "parquet", "png"])
def test_images_of_two_channels_are_no_png_files(name):
    with pytest.raises(InputError, match="images with 2 channels are no PNG files.*give --format npz"):
        FORMATS[name].require((8, 8, 2))
    FORMATS["npz"].require((8, 8, 2))


@pytest.mark.parametrize(("name", "package"), [("webdataset", "webdataset"), ("parquet", "pyarrow")])
def test_a_package_that_is_missing(name, package, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda asked: None if asked == package else object())
    with pytest.raises(InputError, match=r'pip install "ddgan-deploy\[bulk\]"'):
        FORMATS[name].require((8, 8, 3))
