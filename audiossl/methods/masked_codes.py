"""Prediction of the codes of frozen teachers from masked features (SPEAR).

The filter bank of a cut, which may have been mixed with another, loses some channels (zeros) and
some spans of time (a learned vector); the encoder computes frames of what is left, and one linear
classifier a codebook predicts the code of each frame. The loss of a cut is, for each teacher,

    sum over frames of 2 alpha (hidden) or 2 (1 - alpha) (visible) x mean cross-entropy of codebooks

so that alpha 0.5 counts all frames alike, as the authors' code does, and 1 the hidden ones alone.
With two teachers, of speech and of audio, all cuts have the loss of the speech teacher, and audio
cuts also, with weight lambda, that of the audio teacher: the asymmetric loss.

Source: "SPEAR: A Unified SSL Framework for Learning Speech and Audio Representations" (arXiv
2510.25955) and the authors' code (`marcoyang1998/icefall`). One difference: frames count where the
encoder has a valid frame and the teacher a code; theirs also count a few frames of padding.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audiossl import distributed
from audiossl.audio.frame_rates import IGNORED, MOST_FRAMES_APART, at_frame_rate
from audiossl.batches import DOMAINS, CodeBatch, DataFacts, Target
from audiossl.configs import Count, Nonnegative, Share
from audiossl.errors import UserError, did_you_mean
from audiossl.losses.codebook_cross_entropy import CodebookScores, codebook_cross_entropy
from audiossl.methods.method import Losses, context_of
from audiossl.methods.mixing import MixingConfig, mix
from audiossl.models.encoder import FeatureEncoder, check_has_frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.span_masks import span_masks


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """Masks over time and channels; the defaults are those of audio and unified models."""

    time_probability: Share = 0.65
    """Share of frames to mask, where spans do not overlap."""
    time_span: Count = 10
    """Feature frames of a masked span."""
    channel_probability: Share = 0.25
    """Share of channels of the filter bank to mask in a whole cut, where spans do not overlap."""
    channel_span: Count = 20
    """Channels of a masked span."""

    def __post_init__(self) -> None:
        """Check what values alone can tell.

        Raises:
            UserError: A value makes no sense.
        """
        for name in ("time_probability", "channel_probability"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UserError(f"masking.{name} is {getattr(self, name)}: give 0 to less than 1")
        for name in ("time_span", "channel_span"):
            if getattr(self, name) < 1:
                raise UserError(f"masking.{name} is {getattr(self, name)}: give at least 1")


@dataclass(frozen=True, kw_only=True)
class MaskedCodesConfig:
    """Masks, weights of losses, and mixing of cuts."""

    kind: Literal["masked_codes"] = "masked_codes"
    masking: MaskingConfig = MaskingConfig()
    """Masks over time and channels."""
    mixing: MixingConfig = MixingConfig()
    """Mixing of cuts with noise and with each other."""
    alpha: Share = 0.5
    """Weight of masked frames, 0 to 1; unmasked ones have the rest."""
    pairing: Literal["asymmetric", "joint", "disjoint"] = "asymmetric"
    """Losses of cuts with two teachers. asymmetric: that of the speech teacher for all cuts, of the
    audio teacher for audio cuts too; joint: both for all; disjoint: that of the cut's domain."""
    audio_weight: Nonnegative = 0.1
    """Weight of the audio teacher's loss beside the speech teacher's: lambda."""

    def __post_init__(self) -> None:
        """Check what values alone can tell.

        Raises:
            UserError: A weight is out of range.
        """
        if not 0.0 <= self.alpha <= 1.0:
            raise UserError(f"alpha is {self.alpha}: give 0 (visible frames alone) to 1 (hidden)")
        if not (math.isfinite(self.audio_weight) and self.audio_weight >= 0.0):
            raise UserError(f"audio_weight (lambda) is {self.audio_weight}: give 0 or more")


class MaskedCodes(nn.Module):
    """An encoder, the vector that stands for hidden frames, and classifiers for each teacher."""

    def __init__(self, encoder: FeatureEncoder, config: MaskedCodesConfig, data: DataFacts) -> None:
        """Put heads on an encoder.

        Args:
            encoder: What is trained.
            config: What is hidden, and how losses are weighted.
            data: Its targets are codes by the name of their teacher's domain, "speech", "audio" or
                both; of a single teacher every cut learns.

        Raises:
            UserError: There is no teacher, one of an unknown name, or the encoder has no frames.
        """
        super().__init__()
        targets = data.targets
        _check_names(targets)
        check_has_frames(encoder, "masked_codes")
        self.encoder = encoder
        self.config = config
        self.targets, self.data = dict(targets), data
        self.mask_embedding = nn.Parameter(torch.randn(encoder.num_bins))
        ratios = {
            name: max(1, round(target.frame_rate / encoder.frame_rate))
            for name, target in targets.items()
        }
        self.heads = nn.ModuleDict(
            {
                name: CodebookHeads(
                    encoder.dim, target.num_codebooks * ratios[name], target.codebook_size
                )
                for name, target in targets.items()
            }
        )

    def forward(self, batch: CodeBatch, step: int, generator: torch.Generator) -> Losses:
        """Compute the loss of predicting the codes of a batch."""
        _check_codes(batch, self.targets)
        rates = {name: target.frame_rate for name, target in self.targets.items()}
        batch = mix(batch, self.config.mixing, rates, self.encoder.sample_rate, generator)
        features, lengths = self.encoder.features(batch.waveforms, batch.lengths)
        features, hidden = self.hide(features, lengths, generator)
        context = context_of(step, self.data, generator)
        frames = self.encoder.encode_features(features, lengths, context)
        valid = valid_mask(frames.lengths, frames.vectors.shape[1])
        hop = round(self.encoder.feature_rate / self.encoder.frame_rate)
        hidden = _pooled(hidden, hop, valid.shape[1])
        results = {
            name: self.score(name, frames.vectors, batch, hidden, valid) for name in self.targets
        }
        return self._losses(results, batch.domains, hidden, int(frames.lengths.sum()))

    def hide(
        self,
        features: Float[Tensor, "batch frames bins"],
        lengths: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "batch frames bins"], Bool[Tensor, "batch frames"]]:
        """Hide channels, then spans of time; returns which frames are hidden, too."""
        config = self.config.masking
        batch, size, bins = features.shape
        draws = distributed.draw_rows(
            batch,
            lambda rows: torch.rand(
                rows, bins + size + 2, device=lengths.device, generator=generator
            ),
        )
        channels = span_masks(
            torch.full_like(lengths, bins), bins, probability=config.channel_probability,
            span=config.channel_span, min_spans=0, draws=draws[:, : bins + 1],
        )  # fmt: skip
        times = span_masks(
            lengths, size, probability=config.time_probability, span=config.time_span,
            min_spans=2, draws=draws[:, bins + 1 :],
        )  # fmt: skip
        features = features.masked_fill(channels[:, None], 0.0)
        return torch.where(times[..., None], self.mask_embedding, features), times

    def score(
        self,
        name: str,
        vectors: Float[Tensor, "batch frames dim"],
        batch: CodeBatch,
        hidden: Bool[Tensor, "batch frames"],
        valid: Bool[Tensor, "batch frames"],
    ) -> CodebookScores:
        """Compare what frames predict with the codes of one teacher."""
        target, config = self.targets[name], self.config
        codes = at_frame_rate(batch.codes[name], target.frame_rate, self.encoder.frame_rate)
        codes = _fitted(codes, vectors.shape[1], name).masked_fill(~valid[..., None], IGNORED)
        weights = torch.where(hidden, 2 * config.alpha, 2 * (1 - config.alpha))
        weights = weights * self.cut_weights(name, batch.domains)[:, None]
        scores: CodebookScores = self.heads[name](
            vectors.flatten(0, 1), codes.flatten(0, 1), weights.flatten()
        )
        return scores

    def cut_weights(self, name: str, domains: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Weight of a teacher's loss in each cut."""
        pairing, own = self.config.pairing, (domains == DOMAINS.index(name)).float()
        if len(self.targets) == 1:
            return torch.ones_like(own)
        everybody = pairing == "joint" or (pairing == "asymmetric" and name == "speech")
        weights = torch.ones_like(own) if everybody else own
        return weights * (self.config.audio_weight if name == "audio" else 1.0)

    def _losses(
        self,
        results: Mapping[str, CodebookScores],
        domains: Int[Tensor, " batch"],
        hidden: Bool[Tensor, "batch frames"],
        num_frames: int,
    ) -> Losses:
        count = max(num_frames, 1)
        metrics: dict[str, Tensor] = {}
        weights: dict[str, Tensor] = {}
        for name, scores in results.items():
            for number, domain in enumerate(DOMAINS):
                of_domain = (domains == number)[:, None]
                for kind, chosen in (
                    ("masked", of_domain & hidden),
                    ("visible", of_domain & ~hidden),
                ):
                    figures, weight = _figures(scores, chosen.flatten())
                    place = f"{name}_codes/{domain}_cuts/{kind}"
                    metrics |= {f"{place}/{figure}": value for figure, value in figures.items()}
                    weights |= {f"{place}/{figure}": weight for figure in figures}
        metrics["masked"] = hidden.float().mean()
        headlines = tuple(name for name in metrics if name.endswith("/masked/accuracy"))
        total = torch.stack([scores.loss for scores in results.values()]).sum() / count
        return Losses(total, float(count), metrics, weights, headlines)


class CodebookHeads(nn.Module):
    """One linear classifier a codebook, all in one product.

    Example:
        >>> heads = CodebookHeads(dim=8, num_codebooks=2, codebook_size=16)
        >>> codes = torch.zeros(5, 2, dtype=torch.int64)
        >>> heads(torch.randn(5, 8), codes, torch.ones(5)).negative_log.shape
        torch.Size([5, 2])
    """

    def __init__(self, dim: int, num_codebooks: int, codebook_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_codebooks, codebook_size, dim) * dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(num_codebooks, codebook_size))

    def forward(
        self,
        frames: Float[Tensor, "frames dim"],
        codes: Int[Tensor, "frames codebooks"],
        frame_weights: Float[Tensor, " frames"],
    ) -> CodebookScores:
        """Compare what frames predict with their codes."""
        return codebook_cross_entropy(frames, self.weight, self.bias, codes, frame_weights)


def _check_names(targets: Mapping[str, Target]) -> None:
    if not targets:
        raise UserError("there are no codes to learn: name those of speech, audio or both")
    for name in targets:
        if name not in DOMAINS:
            raise UserError(
                f"codes {name!r} are of no domain{did_you_mean(name, DOMAINS)} "
                f"(known: {', '.join(DOMAINS)})"
            )


def _check_codes(batch: CodeBatch, targets: Mapping[str, Target]) -> None:
    for name, target in targets.items():
        if name not in batch.codes:
            raise UserError(
                f"a batch brings no {name} codes (it has {', '.join(batch.codes) or 'none'}): "
                "encode its cuts with that teacher's quantizer first"
            )
        num_codebooks = batch.codes[name].shape[2]
        if num_codebooks != target.num_codebooks:
            raise UserError(
                f"{name} codes have {num_codebooks} codebooks, expected {target.num_codebooks}: "
                "are they of another quantizer?"
            )


def _fitted(
    codes: Int[Tensor, "batch frames codebooks"], size: int, name: str
) -> Int[Tensor, "batch size codebooks"]:
    """Cut the codes of a batch to the encoder's frames, or pad them by a few.

    That each cut's codes are as long as its sound is checked where it is read, where it has a name.
    """
    missing = size - codes.shape[1]
    if missing > MOST_FRAMES_APART:
        raise UserError(
            f"{name} codes have {codes.shape[1]} frames where the encoder has {size}: are they of "
            "the same cuts, and at the rate that is said?"
        )
    return F.pad(codes, (0, 0, 0, missing), value=IGNORED)


def _pooled(
    hidden: Bool[Tensor, "batch frames"], hop: int, size: int
) -> Bool[Tensor, "batch size"]:
    """Find hidden frames of the encoder: those of which at least half the feature frames are."""
    padded = F.pad(hidden.float(), (0, max(0, hop * size - hidden.shape[1])))
    return F.avg_pool1d(padded, hop)[:, :size] >= 0.5


def _figures(
    scores: CodebookScores, chosen: Bool[Tensor, " frames"]
) -> tuple[dict[str, Float[Tensor, " codebooks"]], Float[Tensor, ""]]:
    """Accuracy and perplexity of each codebook over chosen frames, and how many have a code."""
    scored = (chosen & scores.known.any(dim=1)).float()
    counts = scored @ scores.known.float()
    accuracy = scored @ scores.correct.float() / counts
    perplexity = (scored @ scores.negative_log / counts).exp()
    return {"accuracy": accuracy, "perplexity": perplexity}, scored.sum()
