"""The identity of a set of weights: equal content, equal digest, however it is stored."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def digest_of_tensors(state: Mapping[str, Tensor]) -> str:
    """Hash the names, types, shapes and values of tensors, in the order of their names.

    Returns:
        The first 16 hexadecimal digits of SHA-256.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
