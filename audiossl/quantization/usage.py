"""How well codebooks are used: perplexity, dead entries, and entries that modalities share."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor


@dataclass(frozen=True)
class CodeUsage:
    """How evenly the entries of each codebook are chosen."""

    code_perplexity: Float[Tensor, " codebooks"]
    """exp of the entropy: as many equally likely entries would be as uncertain."""
    num_dead: Int64[Tensor, " codebooks"]
    """Number of entries that no frame chose."""


def count_codes(
    codes: Integer[Tensor, "*batch codebooks"], codebook_size: int
) -> Int64[Tensor, "codebooks size"]:
    """Count how often each entry is chosen; counts of shards add up to those of the whole."""
    num_codebooks = codes.shape[-1]
    first = torch.arange(num_codebooks, device=codes.device) * codebook_size
    places = (codes.long() + first).flatten()
    return torch.bincount(places, minlength=num_codebooks * codebook_size).view(num_codebooks, -1)


def code_usage(counts: Int64[Tensor, "codebooks size"]) -> CodeUsage:
    """Describe counts of chosen entries, all from the same number of frames.

    Example:
        >>> usage = code_usage(count_codes(torch.tensor([[0], [1], [1], [0]]), 4))
        >>> usage.code_perplexity, usage.num_dead
        (tensor([2.], dtype=torch.float64), tensor([2]))
    """
    shares = counts.double() / counts.sum(dim=1, keepdim=True).clamp(min=1)
    entropy = -torch.xlogy(shares, shares).sum(dim=1)
    return CodeUsage(entropy.exp(), (counts == 0).sum(dim=1))


def joint_share(
    counts: Float[Tensor, "modalities size"], *, least: float = 5.0, least_share: float = 0.1
) -> Float[Tensor, ""]:
    """Measure the share of used entries that are of more than one modality; NaN if none is used.

    An entry is joint if each modality takes more than `least_share` of its use; uses are first
    divided by all of that modality, so that one with more frames owns no more entries. Source: Liu
    et al. (ACL 2022), who call an entry single-modality if over 90 % of its uses are of one.

    Args:
        counts: How often each modality chose each entry.
        least: Entries that were chosen less often in all are left out.
        least_share: Below it a modality is no user; divided by half the number of modalities.
    """
    rates = counts.double() / counts.double().sum(dim=1, keepdim=True).clamp(min=1e-12)
    shares = rates / rates.sum(dim=0).clamp(min=1e-12)
    used = counts.sum(dim=0) >= least
    joint = (shares > least_share * 2 / len(counts)).all(dim=0)
    return (joint & used).sum().double() / used.sum()
