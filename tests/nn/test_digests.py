import torch
from torch import nn

from audiossl.nn.digests import digest_of_tensors


def test_the_order_of_names_and_the_layout_in_memory_do_not_matter():
    state = {"a": torch.randn(3, 4), "b": torch.arange(3), "c": torch.tensor(True)}
    turned = {name: state[name] for name in reversed(state)}
    turned["a"] = state["a"].T.contiguous().T
    assert digest_of_tensors(turned) == digest_of_tensors(state)
    assert len(digest_of_tensors(state)) == 16


def test_every_value_name_shape_and_type_matters():
    state = nn.Linear(3, 2).state_dict()
    changed = {name: value.clone() for name, value in state.items()}
    changed["weight"].view(-1)[-1] += 1e-6
    others = [
        changed,
        {"weight": state["weight"], "bias2": state["bias"]},
        {"weight": state["weight"].T, "bias": state["bias"]},
        {name: value.double() for name, value in state.items()},
    ]
    assert len({digest_of_tensors(each) for each in [state, *others]}) == 5
