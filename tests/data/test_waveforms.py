import numpy as np
import pytest
import torch

from audiossl.batches import WaveformBatch
from audiossl.data.corpus import Corpus
from audiossl.data.plan import PlanConfig, Position
from audiossl.data.waveforms import Waveforms, WaveformsConfig
from audiossl.methods.method import Losses
from recipes.waveforms import pretrain
from tests.contracts import ENCODERS
from tests.data.corpora import prepare, write_folder
from tests.experiment import stage


class Energy(torch.nn.Module):
    """Predicts how loud a cut is: a method as a user writes one."""

    def __init__(self, encoder, config, data):
        super().__init__()
        self.encoder, self.head = encoder, torch.nn.Linear(encoder.clip_dim, 1)
        assert data.seconds_per_step == pytest.approx(1.0)

    def forward(self, batch: WaveformBatch, step, generator):
        features, lengths = self.encoder.features(batch.waveforms, batch.lengths)
        clip = self.encoder.encode_features(features, lengths).clip
        level = batch.waveforms.square().sum(dim=1, keepdim=True)
        return Losses((self.head(clip) - level).square().mean(), float(len(level)))


@pytest.fixture
def cuts(tmp_path):
    write_folder(tmp_path / "audio", [0.3, 0.9, 0.5, 1.4])
    prepare(tmp_path / "audio", tmp_path / "cuts")
    return tmp_path / "cuts"


def test_long_cuts_are_cropped_and_ranks_share_a_batch(cuts):
    corpus = Corpus(cuts)
    plan = PlanConfig(batch_size=4, num_buckets=1)
    source = Waveforms(corpus, WaveformsConfig(max_duration=0.5), plan, np.arange(4))
    batch = source.load(Position(0, 0))
    assert sorted(batch.lengths.tolist()) == [4800, 8000, 8000, 8000]
    for waveform, length in zip(batch.waveforms, batch.lengths.tolist(), strict=True):
        assert (waveform[length:] == 0).all()
        whole = max(corpus.waveform(i).tolist().count(float(waveform[100])) for i in range(4))
        assert whole >= 1
    shares = [source.load(Position(0, 0), rank, 2).waveforms for rank in range(2)]
    assert torch.equal(torch.cat(shares), batch.waveforms)
    later = source.load(Position(1, 0)).waveforms
    assert not torch.equal(later.sort(dim=0).values, batch.waveforms.sort(dim=0).values)


def test_a_method_of_a_users_own_is_trained_on_them(cuts, tmp_path):
    record = stage(
        pretrain, pretrain.train_on_waveforms, "--cuts", f"{cuts}", "--output", f"{tmp_path / 'x'}",
        "--encoder", ENCODERS["efficientnet"], "--method.kind", f"python:{__name__}:Energy",
        "--data.max_duration", "0.5", "--plan", "{batch_size: 2, num_buckets: 1}",
        "--loop.steps", "2", "--resources.device", "cpu",
    )  # fmt: skip
    assert record["results"]["last"]["step"] == 2
