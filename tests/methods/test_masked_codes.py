from dataclasses import replace

import pytest
import torch

from audiossl import distributed
from audiossl.batches import DataFacts, Target, micro_batches
from audiossl.errors import UserError
from audiossl.methods import masked_codes as module
from audiossl.methods.masked_codes import MaskedCodesConfig, MaskingConfig
from audiossl.methods.mixing import MixingConfig
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.frames import Frames
from tests.methods.accumulation import accumulate
from tests.methods.codes import SMALL, TARGETS, code_batch, masked_codes
from tests.oracles.masked_codes import naive_loss

PAIRINGS = {
    "asymmetric": {"speech": (1.0, 1.0), "audio": (0.0, 0.1)},
    "joint": {"speech": (1.0, 1.0), "audio": (0.1, 0.1)},
    "disjoint": {"speech": (1.0, 0.0), "audio": (0.0, 0.1)},
}
"""Weights of the loss in a speech cut and in an audio cut, for each teacher."""


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _by_hand(method, batch, config, cut_weights, *, codes=None, factor: int = 2):
    """The loss from the oracle, on the features that the method draws."""
    features, lengths = method.encoder.features(batch.waveforms, batch.lengths)
    features, times = method.hide(features, lengths, _generator())
    frames = method.encoder.encode_features(features, lengths)
    vectors = frames.vectors
    hidden = torch.zeros(vectors.shape[:2], dtype=torch.bool)
    for frame in range(vectors.shape[1]):
        covered = times[:, factor * frame : factor * (frame + 1)].float()
        hidden[:, frame] = covered.sum(1) / factor >= 0.5
    codes = codes or {
        "speech": batch.codes["speech"],
        "audio": batch.codes["audio"].repeat_interleave(2, dim=1),
    }
    heads = {name: (head.weight, head.bias) for name, head in method.heads.items()}
    weights = {name: torch.tensor(pair)[batch.domains] for name, pair in cut_weights.items()}
    return naive_loss(
        vectors, frames.lengths, heads, codes, hidden, alpha=config.alpha, cut_weights=weights
    )


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("pairing", PAIRINGS)
def test_the_loss_and_its_gradients_are_those_of_the_oracle(pairing, alpha):
    config = MaskedCodesConfig(pairing=pairing, alpha=alpha)
    method, batch = masked_codes(config), code_batch()
    loss = method(batch, 0, _generator()).total
    expected = _by_hand(method, batch, config, PAIRINGS[pairing])
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    parameters = [p for p in method.parameters() if p.requires_grad]
    mine = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    theirs = torch.autograd.grad(expected, parameters, allow_unused=True, materialize_grads=True)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["speech", "audio"])
def test_of_a_single_teacher_every_cut_learns_with_full_weight(name):
    config = MaskedCodesConfig()
    method, batch = masked_codes(config, {name: TARGETS[name]}), code_batch()
    expected = _by_hand(method, batch, config, {name: (1.0, 1.0)})
    loss = method(batch, 0, _generator()).total
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)


def test_at_25_hz_two_frames_of_speech_codes_are_predicted_at_once():
    config = MaskedCodesConfig()
    method = masked_codes(config, encoder=replace(SMALL, output_stride=2))
    assert method.heads["speech"].weight.shape[0] == 2 * TARGETS["speech"].num_codebooks
    assert method.heads["audio"].weight.shape[0] == TARGETS["audio"].num_codebooks
    batch = code_batch()
    speech = batch.codes["speech"]
    pairs = torch.cat([speech[:, 0::2], speech[:, 1::2]], dim=2)
    codes = {"speech": pairs, "audio": batch.codes["audio"]}
    expected = _by_hand(method, batch, config, PAIRINGS["asymmetric"], codes=codes, factor=4)
    loss = method(batch, 0, _generator()).total
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)


def test_padding_counts_for_nothing():
    method, batch = masked_codes(), code_batch()
    rows = batch.lengths.argsort()[:1]
    short = replace(
        batch, waveforms=batch.waveforms[rows], lengths=batch.lengths[rows],
        domains=batch.domains[rows], codes={k: v[rows] for k, v in batch.codes.items()}, noise=None,
    )  # fmt: skip
    loss = method(short, 0, _generator())
    other = {name: codes.clone() for name, codes in short.codes.items()}
    frames = int(loss.weight)
    other["speech"][:, frames:] = 3
    other["audio"][:, -(-frames // 2) :] = 3
    assert torch.equal(method(replace(short, codes=other), 0, _generator()).total, loss.total)


def test_hidden_features_change_nothing():
    """What lies under the mask does not reach the encoder at all."""
    method, batch = masked_codes(), code_batch()
    features, lengths = method.encoder.features(batch.waveforms, batch.lengths)
    shown, times = method.hide(features, lengths, _generator())
    assert 0.3 < float(times.float().mean()) < 0.6
    hidden_channels = (shown == 0).all(1, keepdim=True) & ~times[..., None]
    spoilt = torch.where(times[..., None] | hidden_channels, 1e3, features)
    assert not torch.equal(spoilt, features)
    again, _ = method.hide(spoilt, lengths, _generator())
    assert torch.equal(again, shown)


class _Framewise(Zipformer):
    """Sees of each frame its own two features and nothing else: it cannot guess from context."""

    def __init__(self) -> None:
        super().__init__(SMALL)
        bins = SMALL.num_bins
        self.network = torch.nn.Sequential(
            torch.nn.Linear(2 * bins, 64), torch.nn.ReLU(), torch.nn.Linear(64, SMALL.dim)
        )

    def features(self, waveforms, lengths):
        """Features that spell the codes, which the test puts into the waveforms."""
        return waveforms.unflatten(1, (-1, SMALL.num_bins)), lengths // SMALL.num_bins

    def encode_features(self, features, feature_lengths, context=None):
        pairs = features.unflatten(1, (-1, 2)).flatten(2)
        return Frames(self.network(pairs), feature_lengths // 2, 50.0)


def test_no_target_leaks_through_the_mask():
    """Codes are random, and the input spells them: seen, they are named; hidden, they are not."""
    torch.manual_seed(0)
    target = Target(2, 16, 50.0)
    config = MaskedCodesConfig(masking=MaskingConfig(channel_probability=0.0))
    method = masked_codes(config, {"speech": target})
    method.encoder = _Framewise()
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    totals = {"masked": 0.0, "visible": 0.0}
    for step in range(150):
        codes = torch.randint(0, 16, (8, 100, 2))
        spelled = torch.nn.functional.one_hot(codes, 16).float().flatten(2)
        features = torch.zeros(8, 200, SMALL.num_bins)
        features[..., :32] = spelled.repeat_interleave(2, dim=1)
        batch = replace(
            code_batch(8), waveforms=features.flatten(1), lengths=torch.full((8,), 200 * 128),
            domains=torch.zeros(8, dtype=torch.int64), codes={"speech": codes}, noise=None,
        )  # fmt: skip
        losses = method(batch, step, _generator(step))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        if step >= 100:
            for kind in totals:
                part = losses.metrics[f"speech_codes/speech_cuts/{kind}/accuracy"]
                totals[kind] += float(part.mean()) / 50
    assert totals["visible"] > 0.9
    # A frame at the edge of a span, of which one feature is visible, counts as hidden: it is seen.
    edges = _share_of_edges()
    chance = 1 / 16
    assert totals["masked"] < chance + edges + 0.02
    assert totals["masked"] > chance - 0.02


def _share_of_edges() -> float:
    """Hidden frames at 50 Hz that are hidden by half."""
    method = masked_codes(MaskedCodesConfig(masking=MaskingConfig(channel_probability=0.0)))
    features = torch.zeros(400, 200, SMALL.num_bins)
    _, times = method.hide(features, torch.full((400,), 200), _generator())
    pairs = times.unflatten(1, (-1, 2)).sum(-1)
    return float((pairs == 1).sum() / (pairs >= 1).sum())


def test_figures_are_those_of_each_codebook_domain_and_kind():
    method, batch = masked_codes(), code_batch(8)
    losses = method(batch, 0, _generator())
    assert losses.metrics.keys() >= losses.metric_weights.keys()
    part = losses.metrics["speech_codes/audio_cuts/masked/accuracy"]
    assert part.shape == (4,)
    weights = losses.metric_weights
    counted = sum(
        float(weight) for name, weight in weights.items()
        if name.startswith("speech_codes/") and name.endswith("accuracy")
    )  # fmt: skip
    assert counted == losses.weight
    with torch.no_grad():
        for head in method.heads.values():
            head.weight.zero_()
    flat = method(batch, 0, _generator())
    for name, chance in (("speech", 16.0), ("audio", 32.0)):
        figure = flat.metrics[f"{name}_codes/audio_cuts/visible/perplexity"]
        torch.testing.assert_close(figure, torch.full_like(figure, chance), rtol=1e-5, atol=0)


def test_a_batch_of_one_domain_has_figures_of_no_weight_for_the_other():
    method, batch = masked_codes(), code_batch()
    losses = method(replace(batch, domains=torch.zeros_like(batch.domains)), 0, _generator())
    assert losses.metric_weights["audio_codes/audio_cuts/masked/accuracy"] == 0
    assert losses.metrics["audio_codes/audio_cuts/masked/accuracy"].isnan().all()
    losses.total.backward()
    # All parameters take part, as data parallel training wants it.
    assert all(p.grad is not None for p in method.heads.parameters())


def _losses_and_gradients(config, parts: int = 1):
    method = masked_codes(config)
    (own,) = micro_batches(code_batch(8), distributed.world_size())[distributed.rank() :][:1]
    loss, weight = accumulate(lambda part: method(part, 3, _generator()), own, parts)
    gradients = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])
    return loss, distributed.total(gradients) / weight


@pytest.mark.parametrize(
    "mixing",
    [
        MixingConfig(),
        MixingConfig(speech_probability=0.5, audio_probability=0.5),
        MixingConfig(
            speech_probability=1.0, utterance_share=0.5, mix_codes=True, longest_delay=0.5
        ),
    ],
)
def test_one_process_two_and_a_batch_in_parts_agree(two_processes, mixing):
    config = MaskedCodesConfig(mixing=mixing)
    loss, gradients = _losses_and_gradients(config)
    for other in (
        *two_processes.run(_losses_and_gradients, config),
        _losses_and_gradients(config, 4),
    ):
        assert other[0] == pytest.approx(loss, rel=1e-5)
        torch.testing.assert_close(other[1], gradients, rtol=1e-3, atol=1e-5)


def test_in_bfloat16_heads_and_sums_stay_in_float32():
    method, batch = masked_codes(), code_batch()
    exact = method(batch, 0, _generator()).total
    with torch.autocast("cpu", torch.bfloat16):
        loss = method(batch, 0, _generator()).total
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.02, atol=0)


def test_a_batch_that_is_hidden_as_a_whole_has_a_loss(monkeypatch):
    monkeypatch.setattr(
        module, "span_masks",
        lambda lengths, size, **_: torch.arange(size) < lengths[:, None],
    )  # fmt: skip
    method = masked_codes(MaskedCodesConfig(alpha=0.5))
    losses = method(code_batch(), 0, _generator())
    assert torch.isfinite(losses.total)
    losses.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in method.parameters() if p.grad is not None)
    assert losses.metric_weights["speech_codes/speech_cuts/visible/accuracy"] == 0


def test_what_does_not_fit_is_refused_by_name():
    method, batch = masked_codes(), code_batch()
    with pytest.raises(UserError, match="brings no audio codes"):
        method(replace(batch, codes={"speech": batch.codes["speech"]}), 0, _generator())
    with pytest.raises(UserError, match="speech codes have 2 codebooks, expected 4"):
        short = {**batch.codes, "speech": batch.codes["speech"][..., :2]}
        method(replace(batch, codes=short), 0, _generator())
    with pytest.raises(UserError, match="speech codes have 20 frames where the encoder has 56"):
        cut = {**batch.codes, "speech": batch.codes["speech"][:, :20]}
        method(replace(batch, codes=cut), 0, _generator())
    with pytest.raises(UserError, match="did you mean 'speech'"):
        masked_codes(targets={"speechs": TARGETS["speech"]})
    with pytest.raises(UserError, match="no codes to learn"):
        module.MaskedCodes(Zipformer(SMALL), MaskedCodesConfig(), DataFacts())
    for wrong in ({"alpha": 1.1}, {"audio_weight": -0.1}, {"audio_weight": float("nan")}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            MaskedCodesConfig(**wrong)
    for wrong in ({"time_probability": 1.0}, {"channel_span": 0}):
        with pytest.raises(UserError, match=r"masking\."):
            MaskingConfig(**wrong)
