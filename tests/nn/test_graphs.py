import torch

from audiossl.nn.graphs import for_any_length, recorded_for_any_length


def test_a_graph_that_is_compiled_for_lengths_at_hand_keeps_its_branches():
    # torch.compiler.is_exporting() is true there.
    compiled = torch.compile(lambda x: x + for_any_length(), backend="eager", fullgraph=True)
    assert compiled(torch.zeros(1)).item() == 0
    with recorded_for_any_length():
        assert compiled(torch.zeros(1)).item() == 1
