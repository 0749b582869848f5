"""Knobs on the command lines of ddgan-sample and ddgan-perf."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.cli import sample as command
from ddgan_deploy.cli.knobs import add_knob_arguments, asked_for, given_knobs
from ddgan_deploy.errors import InputError
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.families import registry
from ddgan_deploy.sampler import Knob
from tests.families.toy import UPSAMPLER, write_checkpoint


def given(*arguments):
    parser = argparse.ArgumentParser()
    add_knob_arguments(parser, "one for each seed")
    return given_knobs(parser.parse_args([str(argument) for argument in arguments]))


def test_numbers():
    assert given() == {}
    assert given("--label", "3", "--guidance", "2.5", "--set", "gain=1e-3") == {
        "label": 3,
        "guidance": 2.5,
        "gain": 0.001,
    }
    assert given("--label=-1,4, 7", "--truncation", "-1") == {"label": [-1, 4, 7], "truncation": -1}


@pytest.mark.parametrize("name", ["low_res", "images", "arr_0"])
def test_a_picture_out_of_an_archive(tmp_path, name):
    pictures = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    np.savez(tmp_path / "a.npz", seeds=[1], **{name: pictures})
    np.testing.assert_array_equal(given("--low-res", tmp_path / "a.npz")["low_res"], pictures)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--label", "cat"], "label 'cat' is no number: give one such as 3, several such as 1,2,3, or a file .npz"),
        (["--label", "1,,2"], "label '1,,2' is no number"),
        (["--label", ""], "label '' is no number"),
        (["--set", "gain"], "--set 'gain' is no knob with its value: give NAME=VALUE"),
        (["--label", "1", "--set", "label=2"], "label is given twice: give it once"),
        (["--low-res", "absent.npz"], "absent.npz cannot be read (No such file or directory)"),
    ],
)
def test_what_cannot_be_read(arguments, says):
    with pytest.raises(InputError) as caught:
        given(*arguments)
    assert says in str(caught.value)


def test_a_picture_of_another_form(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.png is no NumPy archive: give a file \.npz with an array low_res"):
        given("--low-res", tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY\x01\x00v\x00{}", b"text"])
def test_a_file_that_is_no_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz is no NumPy archive|a\.npz cannot be read"):
        given("--low-res", tmp_path / "a.npz")


def test_an_archive_without_the_array(tmp_path):
    np.savez(tmp_path / "a.npz", z=[1], y=[2])
    with pytest.raises(InputError, match=r"a\.npz holds no array low_res, images or arr_0, but y, z"):
        given("--low-res", tmp_path / "a.npz")
    np.savez(tmp_path / "e.npz", low_res=np.zeros((0, 8, 8, 3)))
    with pytest.raises(InputError, match=r"e\.npz holds nothing in its array low_res"):
        given("--low-res", tmp_path / "e.npz")
    np.savez(tmp_path / "o.npz", low_res=np.array([{}], object))
    with pytest.raises(InputError, match=r"o\.npz is no NumPy archive"):
        given("--low-res", tmp_path / "o.npz")


def test_an_archive_with_two_kinds_of_pictures(tmp_path):
    """As ddgan-sample writes it of an upsampler; a label beside pictures is no picture."""
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 8, 8, 3), np.uint8), low_res=np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(InputError, match=r"a\.npz holds pictures in low_res and in images: give a file with one"):
        given("--low-res", tmp_path / "a.npz")
    np.savez(tmp_path / "l.npz", images=np.zeros((2, 8, 8, 3), np.uint8), label=[[1], [2]])
    assert given("--label", tmp_path / "l.npz")["label"].tolist() == [[1], [2]]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("upsampler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.FAMILIES, "toy", "tests.families.toy")
        path = write_checkpoint(folder / "toy.safetensors", UPSAMPLER)
        return export(ExportOptions(path, out=folder / "artifact", engine="none")).artifact.path


def test_samples_with_knobs(artifact, tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "base.npz", images=pictures)
    knobs = ["--label", "0,1,2,3,4", "--set", "gain=2", "--low-res", str(tmp_path / "base.npz")]
    arguments = [*knobs, "--seeds", "3,5-8", "--batch", "2", "--npz", str(tmp_path / "out.npz")]
    assert command.main([str(artifact), *arguments]) == 0
    with open_artifact(artifact) as engine:
        expected = engine.generate([3, 5, 6, 7, 8], label=range(5), gain=2, low_res=pictures)
    out = np.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(out["images"], expected)
    assert out["label"].tolist() == [0, 1, 2, 3, 4] and out["gain"].tolist() == [2] * 5
    np.testing.assert_array_equal(out["low_res"], pictures)


@pytest.mark.parametrize("seeds", ["0-2", "0-9"])
def test_one_picture_for_all(artifact, tmp_path, seeds):
    """Of 8 rows, fewer and more than there are seeds."""
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    np.savez(tmp_path / "base.npz", images=picture)
    arguments = ["--low-res", str(tmp_path / "base.npz"), "--seeds", seeds, "--npz", str(tmp_path / "out.npz")]
    assert command.main([str(artifact), *arguments]) == 0
    out = np.load(tmp_path / "out.npz")
    with open_artifact(artifact) as engine:
        np.testing.assert_array_equal(out["images"], engine.generate(out["seeds"].tolist(), low_res=picture))
    assert sorted(out) == ["images", "seeds"]


def test_files_of_seeds_that_come_twice_would_replace_each_other(artifact, tmp_path, capsys):
    arguments = ["--seeds", "3,3", "--label", "1,2", "--set", "low_res=0", "--png-dir", str(tmp_path / "d")]
    assert command.main([str(artifact), *arguments]) == 2
    assert "--png-dir names files by their seeds, and seeds come twice with their label" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_must_be_given_is_told():
    needed = (
        Knob("label", "int64", (1,), 0, 9),
        Knob("low_res", "uint8", (8, 8, 3), 0, 255),
        Knob("x", "int64", (1,), 0, 9),
    )
    assert asked_for(needed) == " --label K --low-res FILE.npz --set x=VALUE"
    assert asked_for((Knob("label", "int64", (1,), 0, 9, 0),)) == ""


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ([], "the knob low_res must be given: uint8 [8, 8, 3] for every image"),
        (["--set", "low_res=0", "--label", "0,1"], "label has shape [2]: give int64 [1] for all images, or [3, 1]"),
        (["--set", "low_res=0", "--guidance", "2"], "there is no knob guidance, only gain, label, low_res"),
        (["--set", "low_res=1,2,3"], "low_res has shape [3]: give uint8 [8, 8, 3] for all images, or [3, 8, 8, 3]"),
        (["--set", "low_res=256"], "low_res 256 is out of range: give a number in 0..255"),
    ],
)
def test_a_wrong_knob_is_one_line(artifact, tmp_path, capsys, knobs, says):
    assert command.main([str(artifact), *knobs, "--seeds", "0-2", "--out", str(tmp_path / "grid.png")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and says in last and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["label", "labels", "arr_1"])
def test_classes_out_of_an_archive(tmp_path, name):
    """Beside pictures, as the published samplers write them."""
    np.savez(tmp_path / "a.npz", arr_0=np.zeros((3, 2, 2, 3), np.uint8), **{name: [4, 0, 7]})
    np.testing.assert_array_equal(given("--label", tmp_path / "a.npz")["label"], [4, 0, 7])


def test_classes_out_of_a_file_of_numbers(tmp_path):
    np.save(tmp_path / "a.npy", [4, 0, 7])
    (tmp_path / "a.txt").write_text("4\n0\n7\n")
    for file in ("a.npy", "a.txt"):
        np.testing.assert_array_equal(given("--label", tmp_path / file)["label"], [4, 0, 7])


@pytest.mark.parametrize("file", ["a.npy", "a.txt"])
def test_a_file_of_no_numbers(tmp_path, file):
    with pytest.raises(InputError, match=rf"{file} cannot be read \(No such file or directory\): give another file"):
        given("--label", tmp_path / file)
    (tmp_path / file).write_text("cat\n")
    with pytest.raises(InputError, match=rf"{file} holds no numbers: give a file \{file[1:]} of label"):
        given("--label", tmp_path / file)
    np.save(tmp_path / "a.npy", [])
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(InputError, match=rf"{file} holds nothing: give a number of label for each image"):
        given("--label", tmp_path / file)
