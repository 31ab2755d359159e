import csv

import numpy as np
import pytest

from audiossl.data.corpus import Corpus
from audiossl.data.crops import CropPlan, Crops, CropsConfig
from audiossl.data.layout import RECORDING
from audiossl.data.plan import Position
from audiossl.errors import UserError
from tests.data.corpora import prepare, write_folder

CONFIG = CropsConfig(
    shares={"speech": 3.0, "music": 1.0}, lengths=(0.5, 1.0, 2.0), batch_duration=16.0
)


def _plan(**settings) -> CropPlan:
    num_samples = np.array([8000, 20000, 64000, 16000, 500_000])
    config = CropsConfig(**{**vars(CONFIG), **settings})
    return CropPlan(num_samples, np.array([0, 0, 0, 1, 1]), config, seed=0)


def test_batches_have_one_length_the_shares_and_crops_that_lie_in_their_cuts():
    plan = _plan()
    seen = set()
    for number in range(60):
        width, cuts, starts, domains = plan.draw(number)
        assert len(cuts) == 16 * 16000 // width
        assert (domains == 1).sum() == len(cuts) // 4
        assert np.array_equal(domains == 1, cuts >= 3)
        assert (starts >= 0).all()
        room = np.maximum(plan.num_samples[cuts] - width, 0)
        assert (starts <= room).all()
        # Cuts of less than half the length are in batches of shorter crops alone.
        assert (plan.num_samples[cuts] >= width / 2).all()
        seen.add(width)
    assert seen == {8000, 16000, 32000}


def test_a_batch_depends_on_seed_and_number_alone():
    one, other = _plan(), _plan()
    for number in (7, 3, 7):
        for first, second in zip(one.draw(number), other.draw(number), strict=True):
            assert np.array_equal(first, second)
    assert not np.array_equal(one.draw(1)[2], one.draw(2)[2])


def test_cuts_are_drawn_by_a_power_of_their_duration():
    drawn = np.concatenate([_plan(duration_power=1.0).draw(n)[1] for n in range(400)])
    # Of music: one second, and what counts for sixteen, eight of the longest crops.
    assert (drawn == 4).sum() / (drawn >= 3).sum() == pytest.approx(16 / 17, abs=0.02)
    drawn = np.concatenate([_plan(duration_power=0.0).draw(n)[1] for n in range(400)])
    assert (drawn == 4).sum() / (drawn >= 3).sum() == pytest.approx(1 / 2, abs=0.02)


def _crops(folder) -> Crops:
    write_folder(folder / "audio", [0.4, 1.5, 3.0, 2.2])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("path", "domain")]
            + [(f"{n:03d}.wav", name) for n, name in enumerate(["speech", "music"] * 2)]
        )
    prepare(folder / "audio", folder / "cuts", labels=[folder / "labels.csv"])
    corpus = Corpus(folder / "cuts")
    return Crops(corpus, CONFIG, np.arange(len(corpus)), seed=0)


def test_crops_are_stretches_of_their_cuts_padded_with_zeros(tmp_path):
    crops = _crops(tmp_path)
    for number in range(4):
        batch = crops.load(Position(0, number))
        width, cuts, starts, domains = crops.plan.draw(number)
        assert batch.waveforms.shape == (len(cuts), width)
        assert np.array_equal(batch.domains.numpy(), domains)
        for row, (cut, start) in enumerate(zip(cuts, starts, strict=True)):
            length = int(batch.lengths[row])
            assert length == min(width, crops.corpus.num_samples[cut])
            expected = crops.corpus.waveform(int(cut), RECORDING, int(start), length)
            assert np.array_equal(batch.waveforms[row, :length].numpy(), expected)
            assert (batch.waveforms[row, length:] == 0).all()


def test_ranks_share_a_batch(tmp_path):
    crops = _crops(tmp_path)
    whole = crops.load(Position(0, 5))
    parts = [crops.load(Position(0, 5), rank, 2) for rank in range(2)]
    for name in ("waveforms", "lengths", "domains"):
        joined = np.concatenate([getattr(part, name).numpy() for part in parts])
        assert np.array_equal(joined, getattr(whole, name).numpy())


def test_a_domain_without_cuts_is_named():
    with pytest.raises(UserError, match="'music'"):
        _plan(shares={"speech": 1.0, "sounds": 1.0, "music": 1.0})
