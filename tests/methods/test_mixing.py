from dataclasses import replace

import pytest
import torch

from audiossl import distributed
from audiossl.batches import CodeBatch, micro_batches
from audiossl.errors import UserError
from audiossl.methods.mixing import MixingConfig, mix

RATES = {"speech": 50.0, "audio": 25.0}
NOISE = MixingConfig(speech_probability=1.0, audio_probability=1.0)
UTTERANCES = MixingConfig(speech_probability=1.0, utterance_share=1.0)
CODES = MixingConfig(speech_probability=1.0, utterance_share=1.0, mix_codes=True)


def _batch(rows: int = 8, seconds: float = 2.0, seed: int = 0) -> CodeBatch:
    generator = torch.Generator().manual_seed(seed)
    size = round(16000 * seconds)
    lengths = size - 640 * torch.randint(0, size // 1280, (rows,), generator=generator)
    waveforms = torch.randn(rows, size, generator=generator)
    waveforms *= torch.rand(rows, 1, generator=generator) * (torch.arange(size) < lengths[:, None])
    codes = {}
    for name, rate, codebooks in (("speech", 50, 16), ("audio", 25, 8)):
        frames = round(seconds * rate)
        values = torch.randint(0, 256, (rows, frames, codebooks), generator=generator)
        valid = torch.arange(frames) < (lengths * rate // 16000)[:, None]
        codes[name] = values.masked_fill(~valid[..., None], -100)
    domains = torch.zeros(rows, dtype=torch.int64)
    noise = torch.randn(rows, size, generator=generator)
    return CodeBatch(waveforms, lengths, domains, codes, noise)


def _mixed(batch, config, seed=0):
    return mix(batch, config, RATES, 16000, torch.Generator().manual_seed(seed))


def _decibels(main, added, length):
    signal = main[:length].double().square().mean()
    return float(10 * torch.log10(signal / added[:length].double().square().mean()))


def test_noise_has_the_ratio_asked_for_and_leaves_codes_alone():
    batch = _batch(32)
    mixed = _mixed(batch, NOISE)
    added = mixed.waveforms - batch.waveforms
    ratios = [_decibels(*row) for row in zip(batch.waveforms, added, batch.lengths, strict=True)]
    assert min(ratios) > 9.9
    assert max(ratios) < 20.1
    assert max(ratios) - min(ratios) > 5
    assert torch.equal(mixed.codes["speech"], batch.codes["speech"])
    for row, length in zip(added, batch.lengths, strict=True):
        assert not row[length:].any()
        assert row[:length].all()


def test_noise_may_cover_a_part():
    batch = _batch(32)
    mixed = _mixed(batch, replace(NOISE, noise_overlap=(0.2, 0.8)))
    covered = ((mixed.waveforms - batch.waveforms) != 0).sum(1) / batch.lengths
    assert float(covered.min()) > 0.19
    assert float(covered.max()) < 0.81


def test_a_piece_of_another_cut_leaves_length_and_codes_alone():
    batch = _batch(32)
    mixed = _mixed(batch, UTTERANCES)
    covered = ((mixed.waveforms - batch.waveforms) != 0).sum(1) / batch.lengths
    assert float(covered.min()) > 0.19
    assert float(covered.max()) < 0.51
    assert torch.equal(mixed.lengths, batch.lengths)
    assert torch.equal(mixed.codes["speech"], batch.codes["speech"])


def test_a_whole_cut_sounds_on_behind_the_end_and_its_codes_with_it():
    batch = _batch(16)
    mixed = _mixed(batch, CODES)
    assert mixed.waveforms.shape[1] == batch.waveforms.shape[1] + 32000
    assert (mixed.lengths >= batch.lengths).all()
    assert (mixed.lengths > batch.lengths).any()
    for row, length in enumerate(batch.lengths.tolist()):
        partner = row ^ 1
        added = mixed.waveforms[row].clone()
        added[:length] -= batch.waveforms[row, :length]
        first = int((added.abs() > 1e-6).nonzero()[0])
        assert first % 640 == 0
        assert first <= min(32000, length)
        other = batch.waveforms[partner, : batch.lengths[partner]]
        gain = added[first : first + len(other)] / other
        torch.testing.assert_close(gain, gain.median().expand_as(gain), rtol=5e-2, atol=5e-3)
        for name, rate in RATES.items():
            begin = round(first * rate / 16000)
            _check_codes(mixed.codes[name][row], batch.codes[name], row, partner, begin)


def _check_codes(mixed, codes, row, partner, begin):
    """Every code is the one or the other's; alone where one sounds; none where neither does."""
    main, other = codes[row], codes[partner]
    for frame, found in enumerate(mixed):
        mine = main[frame] if frame < len(main) else torch.full_like(found, -100)
        inside = 0 <= frame - begin < len(other)
        theirs = other[frame - begin] if inside else torch.full_like(found, -100)
        if (mine == -100).all():
            assert torch.equal(found, theirs)
        elif (theirs == -100).all():
            assert torch.equal(found, mine)
        else:
            assert ((found == mine) | (found == theirs)).all()


def test_the_share_of_the_others_codes_is_its_share_of_the_power():
    for snr in (-5.0, 0.0, 5.0):
        config = replace(CODES, utterance_snr=(snr, snr), longest_delay=0.0)
        batch = _batch(64, seed=3)
        mixed = _mixed(batch, config)
        codes, other = batch.codes["speech"], batch.codes["speech"].unflatten(0, (-1, 2))
        other = other.flip(1).flatten(0, 1)
        both = (codes != -100) & (other != -100) & (codes != other)
        share = ((mixed.codes["speech"] == other) & both).sum() / both.sum()
        # Computed from the powers that are in the mixture, without the formula for the ratio.
        added = mixed.waveforms - batch.waveforms
        lengths = batch.lengths.unflatten(0, (-1, 2)).flip(1).flatten()
        main = batch.waveforms.square().sum(1) / batch.lengths
        second = added.square().sum(1) / lengths
        expected = second / (main + second)
        assert float(share) == pytest.approx(float(expected.mean()), abs=0.01)
        assert float(share) == pytest.approx(1 / (1 + 10 ** (snr / 10)), abs=0.01)


def test_codes_of_one_frame_are_chosen_independently():
    mixed = _mixed(batch := _batch(64), replace(CODES, utterance_snr=(0.0, 0.0), longest_delay=0.0))
    own = mixed.codes["speech"][:, :40] == batch.codes["speech"][:, :40]
    some = own.any(-1) & ~own.all(-1)
    assert float(some.float().mean()) > 0.5


def test_only_speech_gets_utterances_and_each_domain_its_own_share():
    batch = replace(_batch(400, 0.4), domains=torch.arange(400) % 2)
    config = MixingConfig(speech_probability=0.8, audio_probability=0.25, utterance_share=0.5)
    mixed = _mixed(batch, config)
    changed = (mixed.waveforms != batch.waveforms).any(1)
    assert float(changed[batch.domains == 0].float().mean()) == pytest.approx(0.8, abs=0.1)
    assert float(changed[batch.domains == 1].float().mean()) == pytest.approx(0.25, abs=0.1)
    covered = (mixed.waveforms != batch.waveforms).sum(1) / batch.lengths
    assert set((covered[(batch.domains == 1) & changed] > 0.99).tolist()) == {True}


def test_nothing_is_mixed_by_default():
    batch = _batch()
    assert torch.equal(_mixed(batch, MixingConfig()).waveforms, batch.waveforms)


def _of_rank(config):
    (own,) = micro_batches(_batch(8), distributed.world_size())[distributed.rank() :][:1]
    return _mixed(own, config)


@pytest.mark.parametrize("config", [NOISE, UTTERANCES, CODES])
def test_mixing_is_that_of_the_whole_batch_on_ranks_and_in_parts(two_processes, config):
    whole = _of_rank(config)
    ranks = two_processes.run(_of_rank, config)
    parts = []
    for index, part in enumerate(micro_batches(_batch(8), 4)):
        with distributed.micro_batch(index, 4):
            parts.append(_mixed(part, config))
    for shares in (ranks, parts):
        assert torch.equal(torch.cat([s.waveforms for s in shares]), whole.waveforms)
        assert torch.equal(torch.cat([s.lengths for s in shares]), whole.lengths)
        codes = torch.cat([s.codes["audio"] for s in shares])
        assert torch.equal(codes, whole.codes["audio"])


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(UserError, match="the batch brings none"):
        _mixed(replace(_batch(), noise=None), NOISE)
    with pytest.raises(UserError, match="7 cuts of a batch cannot be put into blocks of 2"):
        _mixed(_batch(7), CODES)
    for wrong in (
        {"speech_probability": 1.5},
        {"utterance_share": -0.1},
        {"noise_snr": (20.0, 10.0)},
        {"noise_overlap": (0.5, 1.5)},
        {"block": 1},
        {"longest_delay": -1.0},
    ):
        with pytest.raises(UserError, match=r"mixing\."):
            MixingConfig(**wrong)
