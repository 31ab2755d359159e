"""Splits: nothing that belongs together is parted, and the order of clips does not matter."""

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from egs.debian_packages.local.splits import PATTERN, components, deal

LETTERS = st.sampled_from("abcdefghijkl")
KEYS = st.lists(st.lists(LETTERS, min_size=1, max_size=3), min_size=1, max_size=8)
RELAXED = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)


@RELAXED
@given(KEYS, st.data())
def test_clips_that_share_a_key_share_their_split(keys, data):
    strata = data.draw(st.lists(st.sampled_from("xy"), min_size=len(keys), max_size=len(keys)))
    splits = deal(components(keys), strata)
    for one, split in zip(keys, splits, strict=True):
        for other, its_split in zip(keys, splits, strict=True):
            assert not set(one) & set(other) or split == its_split


@RELAXED
@given(KEYS)
def test_components_do_not_depend_on_the_order(keys):
    there = dict(zip(map(tuple, keys), components(keys), strict=True))
    back = dict(zip(map(tuple, reversed(keys)), components(keys[::-1]), strict=True))
    assert there == back


def test_chains_of_keys_are_one_component():
    assert len(set(components([["a", "b"], ["c", "d"], ["b", "c"], ["e"]]))) == 2


def test_shares_and_small_strata():
    assert Counter(PATTERN) == {"train": 14, "valid": 3, "test": 3}
    many = deal([f"group {number}" for number in range(400)], ["big"] * 400)
    assert Counter(many) == {"train": 280, "valid": 60, "test": 60}
    assert set(deal(list("abcd"), ["small"] * 4)) == {"train", "valid", "test"}
    assert deal(["alone"], ["single"]) == ["train"]
