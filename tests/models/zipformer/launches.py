"""Counting what a network asks of a device: kernels, and bytes that they read and write."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FREE = (
    "detach",
    "empty",
    "empty_like",
    "new_empty",
    "empty_strided",
    "new_empty_strided",
    "promote_types",
)


@dataclass
class Work:
    kernels: int = 0
    bytes: int = 0


class Counting(TorchDispatchMode):
    """Adds up the operators that are run inside; views and reservations of memory cost nothing."""

    def __init__(self):
        super().__init__()
        self.work = Work()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        results = function(*arguments, **(keywords or {}))
        name = function.overloadpacket.__name__
        if not (function.is_view or name in FREE or name == "_unsafe_view"):
            leaves = tree_leaves((arguments, keywords, results))
            tensors = {id(leaf): leaf for leaf in leaves if isinstance(leaf, Tensor)}
            self.work.kernels += 1
            self.work.bytes += sum(t.numel() * t.element_size() for t in tensors.values())
        return results


def count(function):
    """Run a function and count."""
    with Counting() as counting:
        result = function()
    return result, counting.work


def forward_and_backward(encode, features, lengths):
    """Count a forward pass and the backward pass of its sum."""
    vectors, forward = count(lambda: encode(features, lengths))
    _, backward = count(lambda: torch.autograd.backward(vectors, torch.ones_like(vectors)))
    return forward, backward
