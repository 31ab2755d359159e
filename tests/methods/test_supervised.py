from dataclasses import replace

import torch

from audiossl import distributed
from audiossl.batches import LabelBatch, LayerBatch, micro_batches
from audiossl.losses.labels import Outputs
from audiossl.methods import mixup
from audiossl.methods.method import finetuning_context
from audiossl.methods.supervised import (
    FrozenConfig,
    Supervised,
    SupervisedConfig,
    WholeConfig,
    facts_of,
)
from audiossl.models.zipformer.model import Zipformer
from audiossl.models.zipformer.training.regularizers import gradient_regularizers
from audiossl.models.zipformer.training.schedules import Progress
from audiossl.nn.sequence_heads import HeadConfig
from tests.methods.codes import SMALL

PLAIN = HeadConfig(projection=0)


def _batch(rows: int = 200) -> LabelBatch:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(200, 401, (rows,), generator=generator)
    waveforms = torch.randn(rows, 400, generator=generator)
    waveforms *= torch.arange(400) < lengths[:, None]
    return _labeled(waveforms, lengths, torch.randint(0, 2, (rows, 5), generator=generator).float())


def _labeled(waveforms, lengths, tags) -> LabelBatch:
    return LabelBatch(waveforms, lengths, tags, torch.full((len(tags),), tags.shape[1]))


def _method(config=SMALL, **settings) -> Supervised:
    torch.manual_seed(0)
    encoder = Zipformer(config)
    settings = {"input": "clip", "head": PLAIN, "mixup_probability": 0.5, **settings}
    return Supervised(
        encoder, SupervisedConfig(**settings), Outputs("tags", (5,)), facts_of(encoder),
        WholeConfig(),
    )  # fmt: skip


def test_mixup_mixes_sound_and_tags_in_the_same_shares():
    batch = _batch()
    mixed = mixup.mixed(batch, 0.5, 10.0, torch.Generator().manual_seed(0))
    waveforms, lengths, tags = mixed.waveforms, mixed.lengths, mixed.targets
    partner = torch.arange(200) ^ 1
    own = []
    for row in range(200):
        mine, other = batch.waveforms[row], batch.waveforms[partner[row]]
        share = ((waveforms[row] - other) @ (mine - other)) / (mine - other).square().sum()
        torch.testing.assert_close(waveforms[row], share * mine + (1 - share) * other)
        expected = share * batch.targets[row] + (1 - share) * batch.targets[partner[row]]
        torch.testing.assert_close(tags[row], expected, rtol=1e-4, atol=1e-5)
        own.append(float(share))
        longest = max(batch.lengths[row], batch.lengths[partner[row]])
        assert lengths[row] == (longest if share < 0.9999 else batch.lengths[row])
    mixed = torch.tensor([share for share in own if share < 0.9999])
    assert 0.35 < len(mixed) / 200 < 0.65
    # Beta(10, 10) has mean 1/2 and standard deviation 1 / (2 sqrt 21).
    assert abs(float(mixed.mean()) - 0.5) < 0.05
    assert abs(float(mixed.std()) - 0.109) < 0.03


def test_parts_of_a_batch_are_mixed_like_the_whole():
    batch = _batch(8)
    whole = mixup.mixed(batch, 0.5, 10.0, torch.Generator().manual_seed(0)).waveforms
    parts = []
    for index, part in enumerate(micro_batches(batch, 4)):
        with distributed.micro_batch(index, 4):
            part = mixup.mixed(part, 0.5, 10.0, torch.Generator().manual_seed(0))
            parts.append(part.waveforms)
    assert torch.equal(torch.cat(parts), whole)


def test_the_loss_is_the_binary_cross_entropy_of_the_mean_frame():
    method = _method(mixup_probability=0.0, dropout=0.0)
    batch = _batch(4)
    waveforms = torch.nn.functional.pad(batch.waveforms, (0, 8000)).repeat(1, 2)
    batch = _labeled(waveforms, torch.full((4,), waveforms.shape[1]), batch.targets)
    losses = method(batch, 0, torch.Generator())
    frames = method.encoder.encode_features(*method.encoder.features(waveforms, batch.lengths))
    scores = method.head.output(frames.vectors.mean(1)).sigmoid()
    expected = -(batch.targets * scores.log() + (1 - batch.targets) * (1 - scores).log()).mean()
    torch.testing.assert_close(losses.total, expected, rtol=1e-4, atol=1e-5)
    assert losses.weight == 4


def _long_batch(rows):
    generator = torch.Generator().manual_seed(0)
    waveforms = 0.1 * torch.randn(rows, 8000, generator=generator)
    return _labeled(waveforms, torch.full((rows,), 8000), torch.ones(rows, 5))


def _with_machinery():
    return _method(replace(SMALL, machinery=True), dropout=0.5).train()


def _losses_of_ranks():
    """Each rank takes its share of one batch."""
    batch, rank, ranks = _long_batch(8), distributed.rank(), distributed.world_size()
    own = micro_batches(batch, ranks)[rank]
    loss = _with_machinery()(own, 3, torch.Generator().manual_seed(7)).total.detach()
    return distributed.total(loss) / ranks


def test_ranks_and_parts_draw_masks_of_their_own_rows_as_one_process_does(two_processes):
    whole = _losses_of_ranks()
    for found in two_processes.run(_losses_of_ranks):
        torch.testing.assert_close(found, whole)
    parts = []
    for index, part in enumerate(micro_batches(_long_batch(8), 4)):
        with distributed.micro_batch(index, 4):
            parts.append(_with_machinery()(part, 3, torch.Generator().manual_seed(7)).total)
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_rows_of_a_batch_have_masks_of_their_own():
    method = _with_machinery()
    batch = _long_batch(1)
    same = _labeled(
        batch.waveforms.repeat(6, 1), batch.lengths.repeat(6), batch.targets.repeat(6, 1)
    )
    features, counts = method.encoder.features(same.waveforms, same.lengths)
    context = finetuning_context(3, torch.Generator().manual_seed(0))
    clips = method.encoder.encode_features(features, counts, context).clip
    assert len(torch.unique(clips.detach(), dim=0)) == 6


def test_regularizers_act_in_every_eighth_step_of_fine_tuning():
    encoder = _with_machinery().encoder
    features = torch.randn(2, 50, 128)
    steps = [
        encoder._training_step(features, finetuning_context(step, torch.Generator()))
        for step in range(16)
    ]
    acting = [step.front.regularizers for step in steps]
    limits = [one.balance_limits for one in acting]
    assert [step for step in range(16) if limits[step] is not None] == [0, 8]
    # Limits are those of the end of pretraining.
    late = gradient_regularizers(Progress(0, 1e6), torch.device("cpu"))
    assert torch.equal(acting[0].whiten_limits, late.whiten_limits)


def test_a_frozen_encoder_is_in_no_checkpoint_and_learns_nothing():
    encoder = Zipformer(SMALL)
    method = Supervised(
        encoder, SupervisedConfig(head=PLAIN), Outputs("tags", (5,)), facts_of(encoder),
        FrozenConfig(),
    ).train()  # fmt: skip
    method(_long_batch(2), 0, torch.Generator()).total.backward()
    assert set(method.state_dict()) == {
        "layer_sum.logits", "head.output.weight", "head.output.bias",
    }  # fmt: skip
    assert not encoder.training
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_frames_of_layers_and_waveforms_are_scored_alike():
    encoder = Zipformer(SMALL).eval()
    config = SupervisedConfig(head=HeadConfig(projection=4, recurrent_layers=1, width=3))
    outputs, facts = Outputs("events", (2,)), facts_of(encoder)
    torch.manual_seed(0)
    method = Supervised(encoder, config, outputs, facts, FrozenConfig())
    segments = torch.tensor([[[0.1, 0.3, 1.0]], [[0.0, 0.2, 0.0]]])
    batch = LabelBatch(0.1 * torch.randn(2, 8000), torch.tensor([8000, 6000]), segments,
                       torch.tensor([1, 1]))  # fmt: skip
    with torch.no_grad():
        frames = encoder(batch.waveforms, batch.lengths)
    layers = LayerBatch(
        torch.stack(frames.layers, dim=1), frames.lengths_of_layers,
        float(frames.times_of_layers[0]), frames.layer_rate or frames.frame_rate, segments,
        batch.counts,
    )  # fmt: skip
    one, other = (method(b, 0, torch.Generator()) for b in (batch, layers))
    torch.testing.assert_close(one.total, other.total)
    assert one.weight == float(frames.lengths_of_layers.sum())
    # Of parts, which need not have as many rows as there are frames.
    parts = [method(part, 0, torch.Generator()) for part in micro_batches(layers, 2)]
    mean = sum(part.total * part.weight for part in parts) / one.weight
    torch.testing.assert_close(mean, one.total)
