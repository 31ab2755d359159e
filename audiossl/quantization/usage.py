"""How well codebooks are used: perplexity, dead entries, and subspaces that codebooks share."""

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
    """Entries that nobody chose."""
    largest_share: Float[Tensor, " codebooks"]
    """Share of the entry that is chosen most."""


def count_codes(
    codes: Integer[Tensor, "*batch codebooks"], codebook_size: int
) -> Int64[Tensor, "codebooks size"]:
    """Count how often each entry is chosen; counts of shards add up to those of the whole."""
    num_codebooks = codes.shape[-1]
    first = torch.arange(num_codebooks, device=codes.device) * codebook_size
    places = (codes.long() + first).flatten()
    return torch.bincount(places, minlength=num_codebooks * codebook_size).view(num_codebooks, -1)


def code_usage(counts: Int64[Tensor, "codebooks size"]) -> CodeUsage:
    """Describe counts of chosen entries, all from the same number of frames."""
    shares = counts.double() / counts.sum(dim=1, keepdim=True).clamp(min=1)
    entropy = -torch.xlogy(shares, shares).sum(dim=1)
    return CodeUsage(entropy.exp(), (counts == 0).sum(dim=1), shares.amax(dim=1))


def codebook_correlation(
    entries: Float[Tensor, "codebooks size dim"],
) -> Float[Tensor, "codebooks codebooks"]:
    """Measure how far pairs of codebooks share a subspace: 0 if orthogonal, 1 if alike.

    tr(S_i S_j) / √(tr(S_i²) tr(S_j²)) with S_i the scatter of codebook i around its mean: the
    diagnostic of the public `multi_quantization` library. tr(S_i S_j) is computed as the squared
    norm of A_i A_jᵀ, without the dim x dim matrices.
    """
    centered = entries - entries.mean(dim=1, keepdim=True)
    shared = torch.stack(
        [(book @ centered.transpose(1, 2)).square().sum(dim=(1, 2)) for book in centered]
    )
    scale = shared.diagonal().rsqrt()
    return shared * scale * scale[:, None]
