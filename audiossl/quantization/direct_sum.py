"""Multi-codebook quantization: a frame is the sum of one entry of each of several codebooks.

x ≈ Σ_n C_n[z_n] with N codebooks of K entries (256, so that a code is a byte). Unlike residual
quantization the codebooks have no order: they are learnt and chosen jointly. Follows the public
`multi_quantization` library that SPEAR imports; its state dicts load, its codes come out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Integer
from torch import Tensor, nn

from audiossl.errors import UserError
from audiossl.nn.weights import load_exactly
from audiossl.quantization.beam import EntryProducts, beam_search, entry_products
from audiossl.quantization.quantizer import CodebookQuantizer

SCALE_SPEED = 10.0
"""Scales are exp(10 · parameter), so that Adam, whose steps have one size, moves them quickly."""


@dataclass(frozen=True)
class DirectSumLosses:
    """What the training of a `DirectSumQuantizer` minimizes, on one batch."""

    reconstruction: Float[Tensor, ""]
    """Squared error relative to the spread of the frames around the mean of all sums: 1 is no
    better than that mean. Trains the entries."""
    log_prob: Float[Tensor, ""]
    """Mean negative log-probability of the chosen codes. Trains the first guess."""
    logits_entropy: Float[Tensor, ""]
    """Distance of the mean predicted distribution from uniform, from 0 to 1."""
    index_entropy: Float[Tensor, ""]
    """The same of the chosen codes; has no gradient."""

    def total(self, entropy_weight: float = 0.01) -> Float[Tensor, ""]:
        """Add them up, as the library does: the entropy of codes is a diagnostic only."""
        return self.reconstruction + self.log_prob + entropy_weight * self.logits_entropy

    def detached(self) -> "DirectSumLosses":
        """The same values without their gradients, for logs."""
        return DirectSumLosses(**{name: value.detach() for name, value in vars(self).items()})


class DirectSumQuantizer(CodebookQuantizer):
    """Jointly chosen codebooks whose entries add up.

    Example:
        >>> quantizer = DirectSumQuantizer(dim=8, num_codebooks=4, codebook_size=16)
        >>> codes = quantizer.encode(torch.randn(2, 10, 8))
        >>> codes.shape, quantizer.decode(codes).shape
        (torch.Size([2, 10, 4]), torch.Size([2, 10, 8]))
    """

    kind: ClassVar[str] = "direct_sum"
    frames_per_chunk: ClassVar[Mapping[str, int]] = {"cpu": 256, "cuda": 8192}

    def __init__(self, dim: int, num_codebooks: int, codebook_size: int = 256) -> None:
        super().__init__()
        if num_codebooks < 1 or num_codebooks & (num_codebooks - 1):
            raise UserError(
                f"num_codebooks is {num_codebooks}: codebooks are merged in pairs, so their number "
                "must be a power of two"
            )
        self.dim, self.num_codebooks, self.codebook_size = dim, num_codebooks, codebook_size
        self.to_logits = nn.Linear(dim, num_codebooks * codebook_size)
        weight = self.to_logits.weight.detach().clone()
        self.centers = nn.Parameter(weight.view(num_codebooks, codebook_size, dim))
        self.logits_scale = nn.Parameter(torch.zeros(()))
        self.centers_scale = nn.Parameter(torch.zeros(()))
        self._tables: _Tables | None = None

    @classmethod
    def from_reference(cls, state: Mapping[str, Tensor]) -> "DirectSumQuantizer":
        """Make a quantizer of the state dict of the library's `Quantizer`.

        Args:
            state: `to_logits.*`, `centers`, `logits_scale`, `centers_scale`; `id_buf`, a random
                name, is left out, because our id is a hash of the content.

        Raises:
            UserError: Tensors are missing, unknown, mis-shaped or not finite.
        """
        if "centers" not in state or state["centers"].ndim != 3:
            raise UserError(
                "a quantizer of the multi_quantization library has a tensor 'centers' of three "
                f"axes; found {', '.join(state) or 'nothing'}"
            )
        num_codebooks, codebook_size, dim = state["centers"].shape
        quantizer = cls(dim, num_codebooks, codebook_size).to(state["centers"].dtype)
        parameters = {name: value for name, value in state.items() if name != "id_buf"}
        load_exactly(quantizer, parameters, "quantizer of the multi_quantization library")
        return quantizer.eval()

    def settings(self) -> dict[str, int]:
        """Arguments that build an untrained quantizer of the same shapes."""
        return {
            "dim": self.dim,
            "num_codebooks": self.num_codebooks,
            "codebook_size": self.codebook_size,
        }

    def entries(self) -> Float[Tensor, "codebooks size dim"]:
        """The vectors that are added up."""
        return torch.exp(SCALE_SPEED * self.centers_scale) * self.centers

    def logits(self, frames: Float[Tensor, "frames dim"]) -> Float[Tensor, "frames codebooks size"]:
        """Guess the code of each codebook without a search."""
        scaled = torch.exp(SCALE_SPEED * self.logits_scale) * frames
        return self.to_logits(scaled).view(len(frames), self.num_codebooks, self.codebook_size)

    def encode(
        self, frames: Float[Tensor, "*batch dim"], refinements: int = 5
    ) -> Integer[Tensor, "*batch codebooks"]:
        """Choose an entry of each codebook for each frame.

        Args:
            frames: Any number of frames, on any device; chunks of them visit the quantizer's.
            refinements: Passes of the search after the first guess; 5 is what SPEAR takes.

        Returns:
            uint8 for codebooks of up to 256 entries, on the device of `frames`.

        Raises:
            UserError: The frames have another dimension than those of the training.
            Skip: A frame is NaN or infinite.
        """
        return self.in_chunks(frames, partial(self.encode_chunk, refinements=refinements))

    def encode_chunk(
        self, frames: Float[Tensor, "frames dim"], refinements: int = 5
    ) -> Int64[Tensor, "frames codebooks"]:
        """Encode as many frames as fit into memory."""
        return self._search(frames, self.logits(frames), refinements)

    def decode_chunk(self, codes: Int64[Tensor, "frames codebooks"]) -> Float[Tensor, "frames dim"]:
        """Add up the entries of each frame."""
        first = torch.arange(self.num_codebooks, device=codes.device) * self.codebook_size
        return F.embedding_bag(codes + first, self.entries().flatten(0, 1), mode="sum")

    def losses(self, frames: Float[Tensor, "frames dim"], *, refinements: int) -> DirectSumLosses:
        """Measure how well `frames` are approximated and how well their codes are guessed.

        Args:
            frames: A batch; it is an input, no gradient reaches it.
            refinements: Passes of the search, 1 or 2 in training.
        """
        logits = self.logits(frames)
        with torch.no_grad():
            codes = self._search(frames, logits, refinements)
        error = (self.decode_chunk(codes) - frames).square().sum()
        mean = self.entries().detach().mean(dim=1).sum(dim=0)
        log_probs = logits.log_softmax(dim=2)
        used = F.one_hot(codes, self.codebook_size).to(logits.dtype).mean(dim=0)
        return DirectSumLosses(
            reconstruction=error / ((frames - mean).square().sum() + 1e-20),
            log_prob=-log_probs.gather(2, codes[..., None]).mean(),
            logits_entropy=_distance_from_uniform(log_probs.exp().mean(dim=0)),
            index_entropy=_distance_from_uniform(used),
        )

    def with_paired_codebooks(self) -> "DirectSumQuantizer":
        """Turn pairs of codebooks into one whose entries are all sums of theirs.

        Half as many codebooks of the squared size, with the same approximations: how training goes
        from 16 entries, which are easily learnt, to 256.
        """
        pairs = DirectSumQuantizer(self.dim, self.num_codebooks // 2, self.codebook_size**2)
        pairs = pairs.to(self.centers)
        with torch.no_grad():
            pairs.to_logits.weight.copy_(self._paired(self.to_logits.weight).flatten(0, 1))
            pairs.to_logits.bias.copy_(self._paired(self.to_logits.bias).flatten())
            pairs.centers.copy_(self._paired(self.centers))
            pairs.logits_scale.copy_(self.logits_scale)
            pairs.centers_scale.copy_(self.centers_scale)
        return pairs

    def _paired(self, values: Tensor) -> Tensor:
        pairs = values.reshape(self.num_codebooks // 2, 2, self.codebook_size, -1)
        return (pairs[:, 0, :, None] + pairs[:, 1, None, :]).flatten(1, 2)

    def _search(
        self,
        frames: Float[Tensor, "frames dim"],
        logits: Float[Tensor, "frames codebooks size"],
        refinements: int,
    ) -> Int64[Tensor, "frames codebooks"]:
        codes = logits.argmax(dim=2)
        if refinements == 0:
            return codes
        tables = self._current_tables()
        with_frames = (frames - tables.mean) @ tables.entries.T
        return beam_search(codes, with_frames, tables.products, refinements=refinements)

    def _current_tables(self) -> "_Tables":
        """Make the tables of the search, once for each state of the entries."""
        values = (self.centers, self.centers_scale)
        # What changes in place, as an optimizer's step does, gets a new version.
        state = tuple((v.data_ptr(), 0 if v.is_inference() else v._version) for v in values)
        if self._tables is None or self._tables.state != state:
            entries = self.entries().detach()
            means = entries.mean(dim=1, keepdim=True)
            entries = entries - means
            self._tables = _Tables(
                state, means.sum(dim=(0, 1)), entries.flatten(0, 1), entry_products(entries)
            )
        return self._tables


@dataclass(frozen=True)
class _Tables:
    """What the search needs of the entries."""

    state: tuple[tuple[int, int], ...]
    """State of the parameters they were made of."""
    mean: Float[Tensor, " dim"]
    """Mean of all sums."""
    entries: Float[Tensor, "entries dim"]
    """Entries less the mean of their codebook; errors stay what they are if frames lose `mean`."""
    products: EntryProducts
    """Inner products between `entries`."""


def _distance_from_uniform(probabilities: Float[Tensor, "codebooks size"]) -> Float[Tensor, ""]:
    """Mean over codebooks of 1 - H/log K."""
    entropy = -(probabilities * (probabilities + 1e-20).log()).sum(dim=1).mean()
    return 1 - entropy / math.log(probabilities.shape[1])
