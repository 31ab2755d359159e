"""Phones of one speaker: rewritten from Festival's format, and those of the mini corpus fit it."""

from itertools import pairwise

import soundfile

from audiossl.probing.segments import parse_segments
from egs.debian_packages.local.speech import phones
from egs.mini.local.labels import rows
from tests.egs.layouts import ROOT


def test_segments_are_what_an_alignment_says():
    text = "#\n0.51200 125 pau\n0.60200 125 e\n0.60200 125 x\n0.76200 125 gg\n"
    assert phones(text) == "0-0.512 pau|0.512-0.602 e|0.602-0.762 gg"


def test_phones_of_the_mini_corpus_lie_in_their_sentences():
    data = ROOT / "egs" / "mini" / "data"
    labeled = [row for row in rows(data) if "phones" in row]
    assert {row["speaker"] for row in labeled} == {"msu_nsh"}
    assert len(labeled) == 80
    names = {split: set() for split in ("train", "valid", "test")}
    for row in labeled:
        found = parse_segments(row["phones"], row["path"])
        assert all(one.end == other.begin for one, other in pairwise(found))
        assert abs(found[-1].end - soundfile.info(data / row["path"]).duration) < 0.3
        names[row["split"]].update(segment.name for segment in found)
    assert names["valid"] | names["test"] <= names["train"]
