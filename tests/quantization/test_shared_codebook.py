import math
from dataclasses import replace

import pytest
import torch

from audiossl import distributed
from audiossl.errors import UserError
from audiossl.quantization.shared_codebook import (
    SharedCodebook,
    SharedCodebookConfig,
    SharedEntries,
    frame_log_probabilities,
)
from tests.oracles.ema_codebook import vector_quantize

CONFIG = SharedCodebookConfig(codebook_size=8, dim=3, idle_steps=10**9)


def _entries(**changes: object) -> SharedEntries:
    return SharedEntries(("a", "b"), replace(CONFIG, **changes))


def _step(book: SharedCodebook, batch: int = 4) -> None:
    for modality, dim in (("a", 5), ("b", 2)):
        book(modality, torch.randn(batch, 6, dim), torch.ones(batch, 6).bool())
    book.update_ema()


def _state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_entries_are_moving_averages_of_both_modalities():
    entries = SharedEntries(("a", "b"), SharedCodebookConfig(codebook_size=3, dim=1, decay=0.5))
    entries.set_entries(torch.tensor([[0.0], [10.0], [20.0]]))
    entries.collect("a", torch.tensor([[1.0], [12.0]]), torch.tensor([0, 1]))
    entries.collect("b", torch.tensor([[3.0]]), torch.tensor([0]))
    entries.update_ema()
    # counts ½·1 + ½·(2, 1, 0), sums ½·(0, 10, 20) + ½·(4, 12, 0): one update, whatever the calls
    torch.testing.assert_close(entries.counts, torch.tensor([1.5, 1.0, 0.5]))
    torch.testing.assert_close(entries.entries, torch.tensor([[2.0 / 1.5], [11.0], [20.0]]))
    torch.testing.assert_close(entries.modality_counts, torch.tensor([[0.5, 0.5, 0], [0.5, 0, 0]]))


def test_two_modalities_in_one_step_are_one_update_and_no_step_is_none():
    book = SharedCodebook({"a": 5, "b": 2}, CONFIG)
    before = _state(book.entries)
    book("a", torch.randn(4, 6, 5), torch.ones(4, 6).bool())
    book("b", torch.randn(4, 6, 2), torch.ones(4, 6).bool())
    for name, value in book.entries.state_dict().items():
        assert torch.equal(value, before[name]), name
    book.update_ema()
    once = _state(book.entries)
    assert int(once["step"]) == 1
    assert not torch.equal(once["entries"], before["entries"])
    book.update_ema()
    for name, value in book.entries.state_dict().items():
        assert torch.equal(value, once[name]), name


def test_agrees_with_vector_quantize_pytorch_on_both_modalities_at_once():
    # Smoothing is the library's; ours has none, so that unused entries keep their place.
    ours = _entries(codebook_size=16, dim=6)
    ours.smoothing = 1e-5
    theirs = vector_quantize(ours.entries)
    for _ in range(50):
        modalities = torch.randn(2, 40, 6)
        _, codes, _ = theirs(modalities)
        for modality, frames, chosen in zip("ab", modalities, codes, strict=True):
            distances = (frames[:, None] - ours.entries).norm(dim=2)
            assert torch.equal(distances.argmin(dim=1), chosen)
            ours.collect(modality, frames, chosen)
        ours.update_ema()
    torch.testing.assert_close(ours.entries, theirs.codebook.data, atol=1e-5, rtol=1e-5)


def test_an_entry_nobody_chooses_does_not_move_however_long():
    entries = _entries(decay=0.5)
    place = entries.entries[5].clone()
    for _ in range(300):
        entries.collect("a", torch.randn(4, 3), torch.tensor([0, 1, 2, 3]))
        entries.update_ema()
    torch.testing.assert_close(entries.entries[5], place, rtol=1e-3, atol=1e-3)
    assert entries.entries.isfinite().all()


def test_a_restart_resets_all_state_and_the_next_step_does_not_undo_it():
    entries = _entries(idle_steps=3)
    codes = torch.tensor([0, 1, 0, 1])
    frames = torch.tensor([[5.0, 5.0, 5.0], [-5.0, 5.0, 5.0]])[codes]
    for step in range(3):
        entries.collect("a", frames, codes)
        entries.update_ema()
        moved = (entries.entries[2:] - entries.entries[0]).norm(dim=1)
        assert step == 2 or moved.min() > 0.5
    away = torch.cdist(entries.entries[2:], entries.entries[:2]).amin(dim=1)
    rms = entries.entries.square().mean().sqrt()
    assert (away > 0).all(), "an exact duplicate is never chosen"
    assert (away < 0.1 * rms).all()
    assert torch.equal(entries.counts[2:], torch.ones(6))
    assert torch.equal(entries.sums[2:], entries.entries[2:])
    assert int(entries.modality_idle[:, 2:].max()) == 0
    restarted = entries.entries[2:].clone()
    entries.collect("a", frames, codes)
    entries.update_ema()
    torch.testing.assert_close(entries.entries[2:], restarted)


def test_entries_that_one_modality_leaves_alone_can_be_made_to_start_again():
    kept, strict = _entries(idle_steps=3), _entries(idle_steps=3, wanted_by="all")
    for entries in (kept, strict):
        for _ in range(3):
            entries.collect("a", torch.randn(8, 3), torch.arange(8))
            entries.collect("b", torch.randn(4, 3), torch.arange(4))
            entries.update_ema()
    assert (kept.modality_idle[1] == torch.tensor([0] * 4 + [3] * 4)).all()
    assert int(strict.modality_idle.max()) == 0
    assert torch.equal(strict.counts[4:], torch.ones(4))


@pytest.mark.parametrize("way", ["eval", "no_grad"])
def test_evaluation_leaves_everything_as_it_is(way):
    book = SharedCodebook({"a": 5, "b": 2}, CONFIG)
    _step(book)
    before = _state(book)
    if way == "eval":
        book.eval()
        _step(book)
    else:
        with torch.no_grad():
            _step(book)
    for name, value in book.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_padding_reaches_nothing():
    torch.manual_seed(0)
    first = SharedCodebook({"a": 5, "b": 2}, CONFIG)
    second = SharedCodebook({"a": 5, "b": 2}, CONFIG)
    second.load_state_dict(first.state_dict())
    frames, valid = torch.randn(4, 10, 5), torch.rand(4, 10) < 0.6
    louder = frames.masked_fill(~valid[..., None], 1e6)
    found, other = first("a", frames, valid), second("a", louder, valid)
    first.update_ema()
    second.update_ema()
    torch.testing.assert_close(found.frames, other.frames)
    torch.testing.assert_close(found.commitment, other.commitment)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, msg=name)


def test_valid_frames_have_mean_0_and_variance_1_on_each_modality():
    book = SharedCodebook({"a": 5, "b": 2}, CONFIG)
    valid = torch.rand(4, 50) < 0.5
    kept = book("b", 7 + 3 * torch.randn(4, 50, 2), valid).frames[valid]
    torch.testing.assert_close(kept.mean(dim=0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(kept.var(dim=0, unbiased=False), torch.ones(3), atol=1e-3, rtol=0)


def test_gradients_reach_the_map_and_never_the_entries():
    book = SharedCodebook({"a": 5, "b": 2}, CONFIG)
    found = book("a", torch.randn(4, 6, 5), torch.ones(4, 6).bool())
    book.update_ema()  # in place, before the backward pass: what it needs was copied
    (found.quantized.square().sum() + found.log_probabilities.square().sum()).backward()
    assert book.maps["a"].weight.grad.abs().sum() > 0
    assert book.maps["b"].weight.grad is None
    assert not any("entries" in name for name, _ in book.named_parameters())


@pytest.mark.parametrize("dim", [64, 1024])
def test_the_softmin_of_plain_distances_does_not_depend_on_the_dimension(dim):
    frames, entries = torch.randn(200, dim), torch.randn(1024, dim)
    logs = frame_log_probabilities(frames, entries)
    entropy = -(logs.exp() * logs).sum(dim=1).mean() / math.log(1024)
    assert 0.94 < entropy < 0.955
    torch.testing.assert_close(
        logs, (-torch.cdist(frames, entries)).log_softmax(dim=1), atol=1e-4, rtol=1e-4
    )


def test_a_frame_on_its_entry_has_a_finite_gradient():
    entries = torch.randn(4, 3)
    frames = entries[:2].clone().requires_grad_()
    frame_log_probabilities(frames, entries)[:, 0].sum().backward()
    assert frames.grad.isfinite().all()


def test_autocast_does_not_change_codes():
    book = SharedCodebook({"a": 16, "b": 2}, replace(CONFIG, codebook_size=100, dim=8)).eval()
    frames, valid = torch.randn(20, 10, 16), torch.ones(20, 10).bool()
    plain = book("a", frames, valid).codes
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(book("a", frames, valid).codes, plain)


def test_going_on_from_a_state_dict_equals_never_having_stopped():
    config = replace(CONFIG, codebook_size=30, idle_steps=2)
    whole, half = (SharedCodebook({"a": 5, "b": 2}, config) for _ in range(2))
    for number in range(20):
        torch.manual_seed(number)
        _step(whole)
        if number == 9:
            half.load_state_dict(whole.state_dict())
        elif number > 9:
            torch.manual_seed(number)
            _step(half)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, half.state_dict()[name]), name


def test_settings_that_make_no_sense_and_unknown_modalities_are_refused():
    with pytest.raises(UserError, match="at least 2 entries"):
        SharedCodebookConfig(codebook_size=1)
    with pytest.raises(UserError, match=r"decay 1\.0"):
        SharedCodebookConfig(decay=1.0)
    with pytest.raises(UserError, match="did you mean 'audio'"):
        SharedCodebook({"audio": 5, "text": 2}, CONFIG)(
            "audoi", torch.randn(1, 2, 5), torch.ones(1, 2).bool()
        )


BUILT_BEFORE: list[SharedCodebook] = []
"""A codebook made before the processes join; spawned ones import this file and do the same."""


def _built_before_the_group() -> SharedCodebook:
    torch.manual_seed(5)
    return SharedCodebook(
        {"a": 5, "b": 2}, replace(CONFIG, codebook_size=16, decay=0.9, idle_steps=4)
    )


BUILT_BEFORE.append(_built_before_the_group())


def _learn(before: bool, uneven: bool, idle_steps: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    config = replace(CONFIG, codebook_size=16, decay=0.9, idle_steps=idle_steps)
    book = SharedCodebook({"a": 5, "b": 2}, config)
    if before:
        state = book.state_dict()
        book = BUILT_BEFORE[0]
        book.load_state_dict(state)
    generator = torch.Generator().manual_seed(7)
    for _ in range(10):
        for modality, dim in (("a", 5), ("b", 2)):
            frames = torch.randn(8, 4, dim, generator=generator)
            valid = torch.rand(8, 4, generator=generator) < 0.7
            own, own_valid = distributed.own_rows(frames), distributed.own_rows(valid)
            if uneven and distributed.rank() == 1:
                own_valid = torch.zeros_like(own_valid)
            book(modality, own, own_valid)
        book.update_ema()
    return _state(book)


@pytest.mark.parametrize("before", [False, True])
def test_two_processes_learn_what_one_does_built_before_or_after_the_group(two_processes, before):
    alone = _learn(False, False, 4)
    first, second = two_processes.run(_learn, before, False, 4)
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_ranks_agree_when_one_of_them_has_no_frames(two_processes):
    first, second = two_processes.run(_learn, False, True, 2)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
