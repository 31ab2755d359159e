"""Embeddings inside cuts: of timed segments, such as phones, the mean of their frames; or frames.

A cut is encoded whole, so that each frame has its context.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiossl.audio.resampling import resample_waveform
from audiossl.data.corpus import Corpus
from audiossl.data.reading import SAMPLE_RATE
from audiossl.models.batching import Batching, encode_all
from audiossl.models.encoder import Encoder, presentation_of
from audiossl.nn.frames import Frames
from audiossl.probing.embeddings import (
    ROWS,
    SEGMENTS,
    EmbeddingConfig,
    cut_windows,
    layers_of,
)
from audiossl.probing.segments import Segment


def embed_segments(
    corpus: Corpus,
    cuts: Iterable[int],
    segments: Sequence[Sequence[Segment]],
    encoder: Encoder,
    config: EmbeddingConfig,
    *,
    device: torch.device | None = None,
    batching: Batching | None = None,
) -> dict[str, Tensor]:
    """Embed the segments of cuts.

    Args:
        corpus: Where the cuts are.
        cuts: Which.
        segments: Of each of them; a cut that has none is not encoded.
        encoder: In evaluation mode, on `device`.
        config: Which layers; an encoder's own clip vector says nothing of a segment.
        device: Where the encoder is.
        batching: How much at once.

    Returns:
        For each layer ("segments/layer3") a tensor (segments, dim), cut after cut; and
        "segments/rows", how many segments each cut has.

    Raises:
        UserError: The encoder has not the layers that are asked for.
    """
    wanted = [(cut, present) for cut, present in zip(cuts, segments, strict=True) if present]
    rows: dict[str, list[Tensor]] = {}
    outputs = timed_cuts(
        corpus, [cut for cut, _ in wanted], encoder, config, device=device, batching=batching
    )
    for (_, present), layers in zip(wanted, outputs, strict=True):
        for name, timed in layers.items():
            pooled = pooled_segments(timed[:, 0], timed[:, 1:], present)
            rows.setdefault(name, []).append(pooled.float())
    tensors = {f"{SEGMENTS}{name}": torch.cat(parts) for name, parts in rows.items()}
    return {
        **tensors,
        f"{SEGMENTS}{ROWS}": torch.tensor([len(present) for present in segments]),
    }


def timed_cuts(
    corpus: Corpus,
    cuts: Iterable[int],
    encoder: Encoder,
    config: EmbeddingConfig,
    *,
    device: torch.device | None = None,
    batching: Batching | None = None,
) -> Iterator[dict[str, Float[Tensor, "_ _"]]]:
    """Encode cuts whole; yield of each its layers, the time of every frame's center before it.

    Arguments are those of `embed_segments`.
    """
    whole = replace(presentation_of(encoder), window_samples=None)

    def waveforms() -> Iterator[Float[np.ndarray, " samples"]]:
        for cut in cuts:
            waveform = resample_waveform(corpus.waveform(cut), SAMPLE_RATE, encoder.sample_rate)
            (piece,) = cut_windows(waveform, whole, encoder.frame_rate, chunk=math.inf)
            yield piece

    yield from encode_all(
        encoder, waveforms(), lambda frames: _timed(frames, config), leveled=whole.level != "own",
        device=device, batching=batching,
    )  # fmt: skip


def pooled_segments(
    times: Float[Tensor, " frames"],
    frames: Float[Tensor, "frames dim"],
    segments: Sequence[Segment],
) -> Float[Tensor, "segments dim"]:
    """Average the frames whose centers lie in each segment; if there is none, take the nearest.

    Example:
        >>> times, frames = torch.tensor([0.5, 1.5, 2.5]), torch.tensor([[0.0], [1.0], [5.0]])
        >>> pooled_segments(times, frames, [Segment(0.0, 2.0, "a"), Segment(2.0, 3.0, "b")])
        tensor([[0.5000],
                [5.0000]])
    """
    bounds = torch.tensor([[segment.begin, segment.end] for segment in segments]).to(times)
    begin, end = torch.searchsorted(times.contiguous(), bounds).unbind(dim=1)
    middle = bounds.mean(dim=1)
    nearest = (times[:, None] - middle).abs().argmin(dim=0)
    begin = torch.where(end > begin, begin, nearest)
    end = torch.where(end > begin, end, nearest + 1)
    # Differences of sums, in float64: one pass whatever the number of segments.
    sums = torch.cat([frames.new_zeros(1, frames.shape[1]), frames]).double().cumsum(dim=0)
    return ((sums[end] - sums[begin]) / (end - begin)[:, None]).to(frames)


def _timed(frames: Frames, config: EmbeddingConfig) -> dict[str, list[Tensor]]:
    """Keep the valid frames of each layer, with the time of its center before each, in float64."""
    rows = {}
    for wanted in config.layers:
        for name, layer in layers_of(frames, wanted).items():
            output = name == "output"
            times = (frames.times if output else frames.times_of_layers)[:, None]
            lengths = (frames.lengths if output else frames.lengths_of_layers).tolist()
            rows[name] = [
                torch.cat([times[:count], row[:count].float()], dim=1)
                for row, count in zip(layer, lengths, strict=True)
            ]
    return rows
