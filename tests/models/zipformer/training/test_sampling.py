import math

import pytest
import torch

from audiossl import distributed
from audiossl.models.zipformer.config import TINY
from audiossl.models.zipformer.training.sampling import sample_step
from audiossl.models.zipformer.training.schedules import FINISHED, Progress

CPU = torch.device("cpu")
START = Progress(0, 0.0)


def drawn(progress, batch=4000, seed=0, length=8):
    generator = torch.Generator().manual_seed(seed)
    return sample_step(TINY, progress, batch=batch, length=length, device=CPU, generator=generator)


def rate(keep):
    return 1.0 - float(keep.mean())


def test_things_are_left_out_as_often_as_schedules_say():
    plan = drawn(START)
    keeps = plan.stacks[0].layers[0].skips
    rates = [rate(keep) for keep in keeps[:-1]]
    assert rates == pytest.approx([0.2, 0.2, 0.2, 0.1, 0.1, 0.5], abs=0.03)
    # The positional term is left out of whole batches, in each layer by itself.
    plans = [drawn(START, batch=1, seed=seed) for seed in range(200)]
    keeps = torch.tensor(
        [[float(p.stacks[s].layers[0].skips.positions) for s in (0, 2)] for p in plans]
    )
    assert keeps.mean(dim=0).tolist() == pytest.approx([0.5, 0.5], abs=0.12)
    assert float((keeps[:, 0] * keeps[:, 1]).mean()) == pytest.approx(0.25, abs=0.1)
    assert rate(plan.front.convnext) == pytest.approx(0.2, abs=0.03)
    dropout = plan.stacks[0].layers[0].dropout[0]
    assert float((dropout == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(dropout.mean()) == pytest.approx(1.0, abs=0.02)


def test_in_the_end_little_is_left_of_it():
    plan = drawn(FINISHED)
    keeps = plan.stacks[3].layers[0].skips
    assert keeps[:5] == (None,) * 5
    assert keeps.positions is None
    assert rate(keeps.layer) == pytest.approx(0.035 * math.sqrt(8), abs=0.02)
    assert plan.front.regularizers.balance_limits is None


def test_feature_masks_silence_the_upper_quarters_of_a_whole_sequence():
    features = drawn(START).stacks[0].features[:, 0]
    assert torch.equal(features[:, :32], torch.ones(4000, 32))
    lower, upper = features[:, 32:48], features[:, 48:]
    assert torch.equal(lower.amin(dim=1), lower.amax(dim=1))
    assert rate(lower) == pytest.approx(0.125, abs=0.02)
    assert rate(upper) == pytest.approx(1 - 0.875**2, abs=0.02)
    assert bool((upper <= lower[:, :1]).all())


def test_modules_of_a_layer_are_left_out_independently():
    keeps = drawn(START).stacks[0].layers[0].skips
    first, second = keeps.convolution1.flatten(), keeps.convolution2.flatten()
    assert rate(first * second) == pytest.approx(1 - 0.8**2, abs=0.03)


def test_the_same_seed_gives_the_same_plan_and_the_end_of_a_schedule_moves_nothing():
    one, two, other = drawn(START), drawn(START), drawn(START, seed=1)
    layers = [plan.stacks[2].layers[0] for plan in (one, two, other)]
    assert torch.equal(layers[0].dropout[1], layers[1].dropout[1])
    assert not torch.equal(layers[0].dropout[1], layers[2].dropout[1])
    # Where skips have come to an end, masks are drawn from the same numbers as before.
    late = drawn(Progress(1, 1e6)).stacks[2].layers[0].dropout[1] == 0
    assert bool((layers[0].dropout[1] == 0)[late].all())


def rows_of_a_rank():
    generator = torch.Generator().manual_seed(0)
    ranks = distributed.world_size()
    plan = sample_step(TINY, START, batch=4 // ranks, length=8, device=CPU, generator=generator)
    layer = plan.stacks[1].layers[1]
    return distributed.gather(layer.skips.attention), distributed.gather(layer.dropout[2])


def test_two_ranks_draw_what_one_draws(two_processes):
    alone = rows_of_a_rank()
    for rank in two_processes.run(rows_of_a_rank):
        for one, other in zip(alone, rank, strict=True):
            assert torch.equal(one, other)
