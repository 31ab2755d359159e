"""Mixup of neighbors in a batch: waveforms and tags in the same shares.

Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018), as in the fine-tuning of
SPEAR's authors. One difference: partners are neighbors in a shuffled batch.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from audiossl import distributed
from audiossl.batches import LabelBatch


def mixed(
    batch: LabelBatch, probability: float, beta: float, generator: torch.Generator
) -> LabelBatch:
    """Mix some cuts with their neighbors; their tags become shares.

    Args:
        batch: Cuts with tags; returned as it is if their number is odd.
        probability: That of each cut.
        beta: Shares are drawn from Beta(beta, beta).
        generator: Source of randomness.

    Example:
        >>> batch = LabelBatch(
        ...     torch.eye(2), torch.tensor([2, 2]), torch.eye(2), torch.tensor([2, 2])
        ... )
        >>> both = mixed(batch, 1.0, 10.0, torch.Generator().manual_seed(0))
        >>> torch.equal(both.waveforms, both.targets)  # shares of waveforms are those of tags
        True
    """
    rows = len(batch.waveforms)
    if probability == 0 or rows % 2:
        return batch
    draws = distributed.draw_rows(rows, lambda whole: _draws(whole, beta, generator))
    own = torch.where(draws[:, 0] < probability, draws[:, 1], 1.0)[:, None]
    partners = torch.arange(rows, device=own.device) ^ 1
    waveforms = own * batch.waveforms + (1 - own) * batch.waveforms[partners]
    tags = own * batch.targets + (1 - own) * batch.targets[partners]
    longest = torch.maximum(batch.lengths, batch.lengths[partners])
    lengths = torch.where(own[:, 0] < 1, longest, batch.lengths)
    return LabelBatch(waveforms, lengths, tags, batch.counts)


def _draws(rows: int, beta: float, generator: torch.Generator) -> Float[Tensor, "rows two"]:
    """Uniform numbers, and shares from Beta(beta, beta): a ratio of two Gamma draws."""
    device = generator.device
    uniform = torch.rand(rows, 1, device=device, generator=generator)
    shape = torch.full((rows, 2), beta, device=device)
    gamma = torch._standard_gamma(shape, generator=generator)
    return torch.cat([uniform, gamma[:, :1] / gamma.sum(dim=1, keepdim=True)], dim=1)
