"""Lists of seeds, from the command line to the graph's input."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ddgan_deploy.cli import sample
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import MAX_SEEDS, parse_seeds, seed_array

WRONG = ["", " ", ",", "3,", ",3", "x", "1.5", "-1", "3-", "-", "1--2", "0-5-9", "0..5", "1 2", "0x10", "1e3"]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0", [0]),
        ("0-3", [0, 1, 2, 3]),
        ("3,7", [3, 7]),
        ("7,3,3", [7, 3, 3]),
        (" 1 , 4 - 6 ", [1, 4, 5, 6]),
        ("5-5,00009", [5, 9]),
        (f"{2**64 - 2}-{2**64 - 1}", [2**64 - 2, 2**64 - 1]),
    ],
)
def test_lists(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", WRONG)
def test_texts_that_are_no_list(text):
    with pytest.raises(InputError, match=re.escape(f"seeds {text!r} cannot be read: give a list such as 0-15")):
        parse_seeds(text)


def test_backwards():
    with pytest.raises(InputError, match="seeds 9-3 run backwards: give 3-9"):
        parse_seeds("1,9-3")


@pytest.mark.parametrize("text", [f"0-{MAX_SEEDS}", f"0,1-{MAX_SEEDS}", "0-9999999999999999999"])
def test_too_many(text):
    with pytest.raises(InputError, match="are over 1,000,000: sample them in several runs"):
        parse_seeds(text)


def test_as_many_as_may_be():
    assert len(parse_seeds(f"1-{MAX_SEEDS}")) == MAX_SEEDS


@pytest.mark.parametrize("text", [f"{2**64}", f"{2**64 - 1}-{2**64}", f"3,{2**64}"])
def test_seeds_beyond_64_bits(text):
    with pytest.raises(InputError, match="is no 64-bit integer: give 0"):
        parse_seeds(text)


@pytest.mark.parametrize("text", [f"{2**64},3", f"3,{2**64},4"])
def test_seeds_beyond_64_bits_before_others(text):
    with pytest.raises(InputError, match="is no 64-bit integer: give 0"):
        parse_seeds(text)


def test_thousands_of_digits():
    with pytest.raises(InputError, match="seed") as caught:
        parse_seeds("1" * 5000)
    assert "\n" not in str(caught.value)


def test_the_graph_takes_two_s_complement():
    words = seed_array([0, 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**63)])
    assert words.dtype == np.int64
    assert words.shape == (7, 1)
    assert words[:, 0].tolist() == [0, 1, 2**63 - 1, -(2**63), -1, -1, -(2**63)]


def test_no_seeds():
    with pytest.raises(InputError, match="no seeds are given"):
        seed_array([])


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, 10**30])
def test_no_64_bit_integer(seed):
    with pytest.raises(InputError, match=f"seed {seed} is no 64-bit integer"):
        seed_array([0, seed, 1])


@pytest.mark.parametrize("text", [*WRONG, "9-3", f"0-{MAX_SEEDS}", str(2**64)])
def test_the_command_line_says_it_in_one_line(text, tmp_path, capsys):
    out = tmp_path / "new" / "grid.png"
    assert sample.main([str(tmp_path / "artifact"), f"--seeds={text}", "--out", str(out)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: seeds") or output.err.startswith("error: seed ")
    assert output.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
