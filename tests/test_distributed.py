import torch

from audiossl import distributed


def _gathered(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of section 10 of the style: own anchors against everybody's candidates."""
    mine = rows.chunk(distributed.world_size())[distributed.rank()].clone().requires_grad_()
    candidates = distributed.gather(mine)
    loss = (mine @ candidates.T).square().mean() + distributed.total(mine.sum()).square()
    loss.backward()
    return distributed.mean(loss), mine.grad


def test_one_process_and_two_have_the_same_loss_and_gradients(two_processes):
    rows = torch.randn(6, 3)
    loss, gradient = _gathered(rows)
    results = two_processes.run(_gathered, rows)
    for other_loss, _ in results:
        torch.testing.assert_close(other_loss, loss)
    # Gradients of inputs are not averaged over ranks as those of parameters are: hence the half.
    both = torch.cat([part for _, part in results]) / 2
    torch.testing.assert_close(both, gradient)


def _agreed() -> tuple[object, bool, bool]:
    mine = {"rank": distributed.rank()}
    return (
        distributed.agree(mine),
        distributed.any_rank(distributed.rank() == 1),
        distributed.any_rank(False),
    )


def test_all_ranks_act_together(two_processes):
    assert two_processes.run(_agreed) == [({"rank": 0}, True, False)] * 2


def _what_one_does_alone(rank_of_one):
    if distributed.rank() == rank_of_one:
        with distributed.alone():
            assert (distributed.rank(), distributed.world_size()) == (0, 1)
            assert distributed.gather(torch.ones(2)).tolist() == [1.0, 1.0]
    distributed.barrier()
    return distributed.world_size()


def test_one_rank_works_alone_while_the_others_wait(two_processes):
    assert two_processes.run(_what_one_does_alone, 0) == [2, 2]
