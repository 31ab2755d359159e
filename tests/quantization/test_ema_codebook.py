import pytest
import torch

from audiossl import distributed
from audiossl.quantization.ema_codebook import EmaCodebook
from tests.oracles.ema_codebook import vector_quantize


def test_entries_are_moving_averages_of_their_frames():
    book = EmaCodebook(1, 3, decay=0.5, smoothing=0.0, idle_steps=10)
    book.set_entries(torch.tensor([[0.0], [10.0], [20.0]]))
    book(torch.tensor([[1.0], [3.0], [12.0]], requires_grad=True))
    # counts ½·1 + ½·(2, 1, 0), sums ½·(0, 10, 20) + ½·(4, 12, 0)
    torch.testing.assert_close(book.counts, torch.tensor([1.5, 1.0, 0.5]))
    torch.testing.assert_close(book.entries, torch.tensor([[2.0 / 1.5], [11.0], [20.0]]))
    assert book.idle.tolist() == [0, 0, 1]


def test_an_unused_entry_does_not_move_without_smoothing():
    book = EmaCodebook(4, 8, smoothing=0.0, idle_steps=10**9)
    entries = torch.randn(8, 4)
    entries[5] = 100.0
    book.set_entries(entries)
    for _ in range(50):
        book(torch.randn(30, 4))
    torch.testing.assert_close(book.entries[5], torch.full((4,), 100.0))


def test_agrees_with_vector_quantize_pytorch():
    ours = EmaCodebook(6, 16, decay=0.99, smoothing=1e-5, idle_steps=10**9)
    theirs = vector_quantize(ours.entries)
    for _ in range(50):
        frames = torch.randn(2, 40, 6)
        expected, codes, _ = theirs(frames)
        found = ours(frames)
        assert torch.equal(found.codes, codes)
        torch.testing.assert_close(found.approximation, expected)
    torch.testing.assert_close(ours.entries, theirs.codebook.data, atol=1e-5, rtol=1e-5)


def test_gradients_go_straight_through_and_commitment_pulls_frames():
    book = EmaCodebook(3, 4).eval()
    frames = torch.randn(5, 3, requires_grad=True)
    found = book(frames)
    torch.testing.assert_close(found.approximation, book.entries[found.codes])
    slope = torch.randn(5, 3)
    (pulled,) = torch.autograd.grad((found.approximation * slope).sum(), frames)
    torch.testing.assert_close(pulled, slope)
    (pulled,) = torch.autograd.grad(book(frames).commitment, frames)
    torch.testing.assert_close(pulled, 2 * (frames - book.entries[found.codes]) / frames.numel())


def test_dead_entries_start_again_with_all_their_state():
    book = EmaCodebook(2, 64, idle_steps=3)
    book.set_entries(torch.full((64, 2), 1e3) + torch.arange(64)[:, None])
    for _ in range(40):
        book(torch.randn(500, 2))
    assert book.entries.abs().max() < 10
    used = book.eval().encode(torch.randn(4000, 2)).unique()
    assert len(used) > 48
    # What a restarted entry becomes next is near where it started: no old sum pulls it back.
    torch.testing.assert_close(book.sums / book.counts[:, None], book.entries, rtol=0.01, atol=0.05)


@pytest.mark.parametrize("way", ["eval", "no_grad"])
def test_evaluation_leaves_everything_as_it_is(way):
    book = EmaCodebook(3, 5)
    before = {name: value.clone() for name, value in book.state_dict().items()}
    if way == "eval":
        book.eval()(torch.randn(20, 3))
    else:
        with torch.no_grad():
            book(torch.randn(20, 3))
    for name, value in book.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_padding_is_never_learnt_from():
    frames, valid = torch.randn(4, 10, 3), torch.rand(4, 10) < 0.6
    louder = frames.masked_fill(~valid[..., None], 1e6)
    first, second = EmaCodebook(3, 8, idle_steps=2), EmaCodebook(3, 8, idle_steps=2)
    for _ in range(5):
        found, other = first(frames, valid), second(louder, valid)
    torch.testing.assert_close(found.commitment, other.commitment)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, msg=name)


def test_autocast_does_not_change_codes():
    book = EmaCodebook(8, 100)
    frames = torch.randn(200, 8)
    plain = book.eval()(frames).codes
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(book(frames).codes, plain)


def test_going_on_from_a_state_dict_equals_never_having_stopped():
    generator = torch.Generator().manual_seed(3)
    batches = [torch.randn(40, 3, generator=generator) for _ in range(20)]
    whole = EmaCodebook(3, 30, idle_steps=2)
    half = EmaCodebook(3, 30, idle_steps=2)
    for number, batch in enumerate(batches):
        whole(batch)
        if number == 9:
            half.load_state_dict(whole.state_dict())
    for batch in batches[10:]:
        half(batch)
    assert torch.equal(half.entries, whole.entries)


def _learn(idle_steps, uneven):
    book = EmaCodebook(3, 16, decay=0.9, idle_steps=idle_steps)
    generator = torch.Generator().manual_seed(7)
    for _ in range(10):
        batch = torch.randn(32, 3, generator=generator)
        own = distributed.own_rows(batch)
        if uneven and distributed.rank() == 1:
            own = own[:0]
        book(own)
    return {name: value.clone() for name, value in book.state_dict().items()}


def test_two_processes_learn_what_one_does(two_processes):
    alone = _learn(10**9, False)
    for state in two_processes.run(_learn, 10**9, False):
        torch.testing.assert_close(state["entries"], alone["entries"], rtol=1e-5, atol=1e-6)


def test_ranks_agree_when_entries_restart_and_one_rank_has_no_frames(two_processes):
    first, second = two_processes.run(_learn, 2, True)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
