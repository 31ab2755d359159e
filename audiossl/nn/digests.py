"""The identity of a set of weights: equal content, equal digest, however it is stored."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from audiossl.digests import digest_of_bytes


def digest_of_tensors(state: Mapping[str, Tensor]) -> str:
    """Hash the names, types, shapes and values of tensors, in the order of their names.

    Returns:
        16 hexadecimal digits.

    Example:
        >>> one, two = {"weight": torch.zeros(2)}, {"bias": torch.zeros(2)}
        >>> digest_of_tensors(one) == digest_of_tensors(two)
        False
    """
    return digest_of_bytes(_contents(state))


def _contents(state: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        yield f"{name} {value.dtype} {tuple(value.shape)} ".encode()
        # As bytes, because numpy has no bfloat16.
        yield value.reshape(-1).view(torch.uint8).numpy().data
