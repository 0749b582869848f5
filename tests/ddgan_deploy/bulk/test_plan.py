"""Which seeds are drawn, and in which shards."""

from __future__ import annotations

import itertools

import pytest

from ddgan_deploy.bulk.plan import Plan
from ddgan_deploy.bulk.seeds import Seeds
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import parse_seeds


@pytest.mark.parametrize("text", ["0-9", "5", "3,7-9,0-2,7", f"0-1,{2**64 - 2}-{2**64 - 1},4"])
def test_seeds_at_places_are_those_of_the_list(text):
    whole = parse_seeds(text)
    seeds = Seeds(text)
    assert len(seeds) == len(whole)
    for start, stop in itertools.combinations(range(len(whole) + 1), 2):
        assert seeds.at(range(start, stop)) == whole[start:stop]


def test_seeds_take_no_memory():
    seeds = Seeds("0-99999999,5-104")
    assert seeds.at(range(99_999_998, 100_000_002)) == [99_999_998, 99_999_999, 5, 6]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0-1000000000", "the seeds are over 1,000,000,000: draw them in several runs"),
        (f"0-{2**64 - 1}", "the seeds are over 1,000,000,000"),
        ("5-3", "seeds 5-3 run backwards: give 3-5"),
        ("", "seeds '' cannot be read"),
    ],
)
def test_wrong_seeds(text, says):
    with pytest.raises(InputError) as caught:
        Plan(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(("count", "shard", "batch"), [(1, 1, 1), (10, 3, 2), (9, 3, 5), (2, 1000, 16)])
def test_every_place_is_in_one_batch_of_one_shard(count, shard, batch):
    plan = Plan(f"0-{count - 1}", shard_size=shard, batch=batch)
    shards = plan.shards()
    assert [each.number for each in shards] == list(range(len(shards)))
    assert all(len(each.places) == shard for each in shards[:-1])
    batches = [places for each in shards for places in plan.batches(each)]
    assert [place for places in batches for place in places] == list(range(count))
    assert all(len(places) <= batch for places in batches)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"shard_size": 0}, "--shard-size must be 1 or more"),
        ({"batch": 0}, "--batch must be 1 or more"),
        ({"format": "jpeg"}, "format 'jpeg' is unknown: choose npz, webdataset, parquet, png"),
        ({"seeds": "0-1000000", "shard_size": 1}, "these are 1,000,001 shards, over 1,000,000: give a larger"),
    ],
)
def test_a_wrong_plan(given, says):
    with pytest.raises(InputError) as caught:
        Plan(**{"seeds": "0-9", **given})
    assert says in str(caught.value)
