"""Cross-modal code matching: modalities of one clip are neighbors, and share one codebook alike.

A clip's embedding is the sum of a continuous path (pooled frames of the modality's encoder) and a
discrete one (pooled entries of the shared codebook). A contrastive loss on embeddings says which
clips belong together; code matching says that both modalities of a clip choose the same entries:
without it the codebook splits into one part a modality.

Source: Liu et al., "Cross-Modal Discrete Representation Learning" (ACL 2022). Beyond it, by
configuration: windows instead of whole clips, run-length weights, a covering score for mixtures and
stems, a commitment loss, and more than two modalities.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from audiossl import distributed
from audiossl.batches import DataFacts, PairBatch
from audiossl.configs import Count, Nonnegative
from audiossl.errors import UserError
from audiossl.losses.code_matching import clip_log_distribution, run_length_weights
from audiossl.losses.margin_softmax import margin_softmax
from audiossl.methods.code_scores import Choices, CodeScoresConfig, pair_code_loss
from audiossl.methods.method import Losses, context_of
from audiossl.models.encoder import Context
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.pooling import masked_max, masked_mean
from audiossl.nn.weights import load_exactly
from audiossl.quantization.shared_codebook import Assigned, SharedCodebook, SharedCodebookConfig
from audiossl.quantization.usage import joint_share


@dataclass(frozen=True, kw_only=True)
class CodeMatchingConfig:
    """Heads, codebook and losses around the encoders of modalities."""

    kind: Literal["code_matching"] = "code_matching"
    embedding_dim: Count = 512
    """Dimension of a clip's embedding."""
    pooling: Literal["mean", "max"] = "mean"
    """Pooling of the continuous path over valid frames."""
    head: Literal["linear", "glu"] = "glu"
    """Map from pooled frames to the embedding."""
    path: Literal["continuous", "projected", "codes"] = "codes"
    """continuous: no codebook, for the warm start and as a control; projected: the second path
    without quantizing it, the fair control; codes: the method."""
    codebook: SharedCodebookConfig = SharedCodebookConfig()
    """Codebook that the modalities share."""
    alpha: Nonnegative = 0.1
    """Weight of code matching; 0 is the control whose codebook splits by modality."""
    matching: CodeScoresConfig = CodeScoresConfig()
    """Comparison of the modalities' codes."""
    margin: float = 0.001
    """Margin of the loss on embeddings."""
    directions: Literal["both", "first"] = "both"
    """Directions of the loss on embeddings: the mean over both, or the first modality's anchors."""
    code_heads: Literal["random", "zero"] = "random"
    """Initialization of the maps from pooled entries to the embedding: random (the paper), or zero,
    so that a warm start is at first what it was, and short training spends nothing on it."""
    commitment_weight: Nonnegative = 0.0
    """Weight of the commitment loss; 0 is the paper. 0.25 makes more codes joint."""


@dataclass(frozen=True)
class Embedded:
    """Embeddings and codes of one modality of a batch."""

    clip: Float[Tensor, "batch embedding"]
    """Continuous and discrete path together."""
    frames: Frames
    """Output of the modality's encoder."""
    assigned: Assigned | None
    """Their codes and quantized vectors, if there is a codebook."""

    @property
    def log_distribution(self) -> Float[Tensor, "batch size"]:
        """The clips' distributions over entries."""
        assert self.assigned is not None
        weights = self.assigned.valid.to(self.clip.dtype)
        return clip_log_distribution(self.assigned.log_probabilities, weights)


class CodeMatching(nn.Module):
    """Encoders of the modalities, their heads, and the codebook between them.

    Example:
        >>> from audiossl.models.modality_encoders import TextConfig, build_modality_encoder
        >>> names = ("chars", "phones")
        >>> texts = {name: build_modality_encoder(TextConfig(), 9, 1.0) for name in names}
        >>> method = CodeMatching(texts, CodeMatchingConfig(embedding_dim=8)).eval()
        >>> method.embed("phones", torch.tensor([[3, 1, 4]]), torch.tensor([3])).clip.shape
        torch.Size([1, 8])
    """

    def __init__(
        self,
        encoder: Mapping[str, nn.Module] | nn.ModuleDict,
        config: CodeMatchingConfig,
        data: DataFacts | None = None,
    ) -> None:
        """Put heads on the encoders of modalities, and a codebook between them.

        Args:
            encoder: A `ModalityEncoder` of each modality, by its name.
            config: Heads, codebook and losses.
            data: What its schedules count.

        Raises:
            UserError: There are fewer than two modalities, or one has no frames.
        """
        super().__init__()
        modalities: dict[str, Any] = dict(encoder.items())
        if len(modalities) < 2:
            raise UserError(
                f"code matching needs two modalities or more, not {', '.join(modalities)}"
            )
        self.config, self.modalities, self.data = config, tuple(modalities), data or DataFacts()
        self.encoder = nn.ModuleDict(modalities)
        self.heads = nn.ModuleDict({s: _head(e.dim, config) for s, e in modalities.items()})
        self.codebook: SharedCodebook | None = None
        self.code_heads = nn.ModuleDict()
        if config.path != "continuous":
            dims = {modality: encoder.dim for modality, encoder in modalities.items()}
            self.codebook = SharedCodebook(dims, config.codebook)
            for modality in modalities:
                self.code_heads[modality] = _code_head(config)

    def forward(self, batch: PairBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the losses of finding each clip's other modality, by embedding and by codes."""
        rows = len(batch.concepts)
        if rows * distributed.world_size() < 2:
            raise UserError("a batch of one pair has no negatives: batch_size >= 2")
        context = context_of(step, self.data, generator)
        embedded = {
            name: self.embed(name, batch.modalities[name], batch.lengths[name], context)
            for name in self.modalities
        }
        excluded = batch.concepts[:, None] == distributed.gather(batch.concepts)
        pairs = list(combinations(self.modalities, 2))
        results = [self._pair(embedded[a], embedded[b], excluded) for a, b in pairs]
        metrics = {name: torch.stack([r[name] for r in results]).mean() for name in results[0]}
        total = metrics["embedding_loss"]
        if self.config.path == "codes":
            commitment = self._commitment(embedded)
            total = total + self.config.alpha * metrics["code_loss"]
            total = total + self.config.commitment_weight * commitment
            metrics |= {"commitment": commitment, "joint_share": self.joint_share()}
        return Losses(total, float(rows), {name: v.detach() for name, v in metrics.items()})

    def embed(
        self,
        modality: str,
        values: Shaped[Tensor, "batch length *dims"],
        lengths: Int[Tensor, " batch"],
        context: Context | None = None,
    ) -> Embedded:
        """Embed one modality of some clips."""
        frames: Frames = self.encoder[modality](values, lengths, context)
        pool = masked_mean if self.config.pooling == "mean" else masked_max
        clip = self.heads[modality](pool(frames.vectors, frames.lengths))
        if self.codebook is None:
            return Embedded(clip, frames, None)
        valid = valid_mask(frames.lengths, frames.vectors.shape[1])
        if self.config.path == "projected":
            second, assigned = self.codebook.project(modality, frames.vectors, valid), None
        else:
            assigned = self.codebook(modality, frames.vectors, valid)
            second = assigned.quantized
        clip = clip + self.code_heads[modality](masked_mean(second, frames.lengths))
        return Embedded(clip, frames, assigned)

    def after_update(self) -> None:
        """Update the codebook's moving averages with the frames of this step."""
        if self.codebook is not None:
            self.codebook.update_ema()

    def warm_start(self, state: Mapping[str, Tensor], source: str) -> None:
        """Take encoders and heads of a method trained without a codebook.

        Args:
            state: Its state dict; what belongs to a codebook is left out.
            source: Where it comes from, for messages.

        Raises:
            UserError: Encoders or heads are of other sizes, or missing.
        """
        for name in ("encoder", "heads"):
            prefix = f"{name}."
            weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            load_exactly(getattr(self, name), weights, f"{source} ({name})")

    def joint_share(self) -> Float[Tensor, ""]:
        """Measure which share of the recently used entries more than one modality uses."""
        assert self.codebook is not None
        entries = self.codebook.entries
        # Half a use a step is what an entry should have at the least to be called used.
        return joint_share(entries.modality_counts, least=0.5)

    def _pair(
        self, first: Embedded, second: Embedded, excluded: Bool[Tensor, "batch candidates"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Compute the losses of two modalities, with figures."""
        offset = distributed.rank() * len(first.clip)
        scores = first.clip @ distributed.gather(second.clip).T
        margin = self.config.margin
        loss = margin_softmax(scores, margin=margin, offset=offset, excluded=excluded)
        if self.config.directions == "both":
            back = second.clip @ distributed.gather(first.clip).T
            other = margin_softmax(back, margin=margin, offset=offset, excluded=excluded)
            loss = (loss + other) / 2
        figures = {"embedding_loss": loss, "accuracy": _accuracy(scores, offset)}
        if first.assigned is None or second.assigned is None:
            return figures
        choices = self._choices(first), self._choices(second)
        codes = pair_code_loss(*choices, excluded, self.config.matching)
        return figures | {"code_loss": codes.loss, "code_accuracy": codes.accuracy}

    def _choices(self, embedded: Embedded) -> Choices:
        """Weigh the choices of a modality's frames."""
        assigned = embedded.assigned
        assert assigned is not None
        weights = assigned.valid.to(assigned.log_probabilities.dtype)
        if self.config.matching.run_length:
            weights = run_length_weights(assigned.codes, assigned.valid).to(weights)
        return Choices(assigned.log_probabilities, weights, embedded.frames.frame_rate)

    def _commitment(self, modalities: Mapping[str, Embedded]) -> Float[Tensor, ""]:
        """Average over modalities; each modality's mean is over the frames of all ranks."""
        terms = []
        for embedded in modalities.values():
            assert embedded.assigned is not None
            own = embedded.assigned.valid.sum().to(embedded.assigned.commitment)
            mean = distributed.total(own) / distributed.world_size()
            terms.append(embedded.assigned.commitment * own / mean.clamp(min=1.0))
        return torch.stack(terms).mean()


def _head(dim: int, config: CodeMatchingConfig) -> nn.Module:
    if config.head == "linear":
        return nn.Linear(dim, config.embedding_dim)
    return nn.Sequential(nn.Linear(dim, 2 * config.embedding_dim), nn.GLU(dim=1))


def _code_head(config: CodeMatchingConfig) -> nn.Linear:
    head = nn.Linear(config.codebook.dim, config.embedding_dim)
    if config.code_heads == "zero":
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return head


def _accuracy(scores: Float[Tensor, "batch candidates"], offset: int) -> Float[Tensor, ""]:
    targets = torch.arange(len(scores), device=scores.device) + offset
    return (scores.detach().argmax(dim=1) == targets).float().mean()
