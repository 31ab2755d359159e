import numpy as np
import pytest
import torch

from audiossl.data.corpus import Corpus
from audiossl.data.crops import CropsConfig
from audiossl.data.plan import Position
from audiossl.data.stem_crops import StemCrops
from audiossl.errors import UserError

CONFIG = CropsConfig(shares={"song": 1.0}, label="kind", lengths=(0.5,), batch_duration=4.0)


@pytest.fixture(scope="module")
def corpus(experiment):
    return Corpus(experiment.cuts, experiment.stems)


def test_stems_are_of_the_same_samples_as_the_mixture(corpus):
    source = StemCrops(corpus, CONFIG, np.arange(len(corpus)), seed=0)
    batch = source.load(Position(0, 3))
    assert batch.stems.shape == (8, len(corpus.stems), 8000)
    _, drawn, starts, _ = source.plan.draw(3)
    for row, (item, start) in enumerate(zip(drawn, starts, strict=True)):
        cut = source.excerpts[item].cut
        for column, name in enumerate(corpus.stems):
            expected = corpus.waveform(cut, name, int(start), 8000)
            assert np.array_equal(batch.stems[row, column].numpy(), expected)
        assert int(batch.recordings[row]) == corpus.recordings[cut]


def test_ranks_share_a_batch(corpus):
    source = StemCrops(corpus, CONFIG, np.arange(len(corpus)), seed=0, stems=["low"])
    whole = source.load(Position(0, 1))
    parts = [source.load(Position(0, 1), rank, 2) for rank in range(2)]
    assert torch.equal(torch.cat([part.stems for part in parts]), whole.stems)


def test_cuts_without_stems_and_unknown_stems_are_refused(corpus):
    sounds = corpus.select({"kind": ["tone"]})
    with pytest.raises(UserError, match=r"none of the 12 cuts that take part has a stem"):
        StemCrops(corpus, CONFIG, sounds, seed=0)
    with pytest.raises(UserError, match=r"has no stem 'lwo'; did you mean 'low'"):
        StemCrops(corpus, CONFIG, np.arange(len(corpus)), seed=0, stems=["lwo"])
