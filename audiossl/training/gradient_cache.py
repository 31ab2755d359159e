"""A batch in parts, contrasted as a whole: vectors first, then what they owe to the loss.

A contrastive loss compares every item with every other, so it is no sum over parts of a batch. Its
gradient with respect to the items' vectors is small, however: all parts but the first are encoded
without keeping what a backward pass needs, the loss of all vectors is computed and its gradient
kept, and each of these parts is encoded again, with the same draws, to send its share of that
gradient on. Memory is that of one part, and of the vectors.

Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"
(GradCache, RepL4NLP 2021). One difference: the first part is encoded only once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from audiossl.methods.method import Losses


def backward_in_two_passes(
    method: nn.Module,
    parts: Sequence[Any],
    encode: Callable[[Any, int], Tensor],
    contrast: Callable[[Tensor], tuple[Losses, Tensor]],
    device: torch.device,
) -> Losses:
    """Add the gradients of a loss of all parts' vectors to those of the parameters.

    Args:
        method: Whose buffers (running statistics) the first pass must leave as they are.
        parts: What is encoded at once.
        encode: From a part and its number to vectors; what it draws beside torch's global state is
            the same when it is called again.
        contrast: From the vectors of all parts to losses, and what is differentiated.
        device: Where it is computed.
    """
    buffers = [(buffer, buffer.clone()) for buffer in method.buffers()]
    states, encoded = [], []
    for index, part in enumerate(parts[1:], 1):
        states.append(_random_state(device))
        with torch.no_grad():
            encoded.append(encode(part, index))
    for buffer, before in buffers:
        buffer.copy_(before)
    first = encode(parts[0], 0)
    vectors = torch.cat([first.detach(), *encoded]).requires_grad_()
    losses, total = contrast(vectors)
    total.backward()
    assert vectors.grad is not None
    of_first, *gradients = vectors.grad.split([len(rows) for rows in (first, *encoded)])
    first.backward(of_first)
    for index, (state, gradient) in enumerate(zip(states, gradients, strict=True), 1):
        _set_random_state(state, device)
        encode(parts[index], index).backward(gradient)
    return losses


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    of_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), of_device


def _set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    of_cpu, of_device = state
    torch.set_rng_state(of_cpu)
    if of_device is not None:
        torch.cuda.set_rng_state(of_device, device)
