"""Long waveforms in bounded memory: overlapping chunks, each encoded alone, joined at seams.

In each chunk a network sees what it would see in the whole waveform, but for attention, which ends
at the ends of the chunk; the overlap keeps frames away from them. Chunks start where frames of the
whole waveform begin, so that nothing has to be interpolated.
"""

import math
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.audio.windows import covering_starts
from audiossl.errors import UserError
from audiossl.models.encoder import Encoder, FeatureEncoder
from audiossl.nn.frames import Frames
from audiossl.nn.graphs import for_any_length

CHUNK, OVERLAP = 30.0, 6.0
"""Seconds, where nothing else is asked for."""
LONGEST = 60.0
"""Seconds of waveforms that a network with attention encodes at once."""


def is_long(encoder: FeatureEncoder, waveforms: Float[Tensor, "batch samples"]) -> bool:
    """Whether an encoder with attention takes chunks: beyond a minute, but not in training.

    Nor while a graph for any length is recorded.
    """
    if encoder.training or for_any_length():
        return False
    return waveforms.shape[1] > LONGEST * encoder.sample_rate


def encode_in_chunks(
    encoder: Encoder,
    waveforms: Float[Tensor, "batch samples"],
    lengths: Int[Tensor, " batch"],
    *,
    chunk: float = CHUNK,
    overlap: float = OVERLAP,
) -> Frames:
    """Encode waveforms of any duration in the memory of a chunk, and that of the result.

    Args:
        encoder: What encodes each chunk. If it has `chunk_unit`, chunks start at multiples of that
            many samples; otherwise at multiples of its frames.
        waveforms: Mono, padded at the end.
        lengths: Valid samples.
        chunk: Seconds that are encoded at once.
        overlap: Seconds that neighboring chunks have in common; in their middle is the seam.

    Returns:
        As many frames as without chunks. The clip vector of an encoder that has its own is the mean
        over chunks, weighted by valid frames.

    Raises:
        UserError: Chunks do not overlap, or no whole number of samples is a frame of the encoder.
    """
    hop = _hop(encoder.sample_rate, encoder.frame_rate)
    unit = getattr(encoder, "chunk_unit", hop)
    spans = chunk_spans(
        waveforms.shape[1],
        _rounded_up(chunk * encoder.sample_rate, unit),
        _rounded_up(overlap * encoder.sample_rate, unit),
        unit,
    )
    pieces = [
        encoder(waveforms[:, start:end], (lengths - start).clamp(min=0, max=end - start))
        for start, end in spans
    ]
    first = pieces[0]
    layer_hop = hop if first.layer_rate is None else _hop(encoder.sample_rate, first.layer_rate)
    layers = zip(*(piece.layers for piece in pieces), strict=True)
    lengths_of_layers = [piece.layer_lengths for piece in pieces]
    return replace(
        first,
        vectors=_joined([piece.vectors for piece in pieces], spans, hop),
        lengths=_total([piece.lengths for piece in pieces], spans, hop),
        layers=tuple(_joined(list(parts), spans, layer_hop) for parts in layers),
        layer_lengths=None
        if first.layer_lengths is None
        else _total([x for x in lengths_of_layers if x is not None], spans, layer_hop),
        pooled=_mean_clip(pieces),
    )


def chunk_spans(num_samples: int, chunk: int, overlap: int, unit: int) -> list[tuple[int, int]]:
    """Cut a number of samples into spans of `chunk`, of which neighbors have `overlap` in common.

    All start at multiples of `unit`; the last has more in common, rather than being shorter.

    Raises:
        UserError: The overlap is not shorter than the chunk.

    Example:
        >>> chunk_spans(10, chunk=6, overlap=2, unit=2)
        [(0, 6), (4, 10)]
    """
    if not 0 < overlap < chunk:
        raise UserError(
            f"chunks of {chunk} samples cannot overlap by {overlap}: give more than 0, and less"
        )
    starts = covering_starts(num_samples, chunk, chunk - overlap, unit)
    return [(start, min(start + chunk, num_samples)) for start in starts]


def _rounded_up(samples: int | float, unit: int) -> int:
    return math.ceil(samples / unit) * unit


def _hop(sample_rate: int, frame_rate: float) -> int:
    hop = sample_rate / frame_rate
    if not hop.is_integer():
        raise UserError(
            f"chunks need frames of whole samples, but there are {hop:g} in a frame of this encoder"
        )
    return int(hop)


def _joined(
    parts: list[Float[Tensor, "batch _ dim"]], spans: list[tuple[int, int]], hop: int
) -> Float[Tensor, "batch frames dim"]:
    """Take each chunk's frames from the seam before it to the seam behind it."""
    seams = [(start + end) // 2 // hop for (_, end), (start, _) in pairwise(spans)]
    firsts, lasts = [0, *seams], [*seams, None]
    inner_parts = []
    for part, (start, _), first, last in zip(parts, spans, firsts, lasts, strict=True):
        offset = start // hop
        inner_parts.append(part[:, first - offset : None if last is None else last - offset])
    return torch.cat(inner_parts, dim=1)


def _total(
    lengths: list[Int[Tensor, " batch"]], spans: list[tuple[int, int]], hop: int
) -> Int[Tensor, " batch"]:
    """Count valid frames from the start of the first chunk; one without any adds none."""
    ends = [(n + start // hop) * (n > 0) for n, (start, _) in zip(lengths, spans, strict=True)]
    return torch.stack(ends).amax(dim=0)


def _mean_clip(pieces: list[Frames]) -> Float[Tensor, "batch clip_dim"] | None:
    if pieces[0].pooled is None:
        return None
    weights = torch.stack([piece.lengths for piece in pieces])[..., None]
    clips = torch.stack([piece.clip for piece in pieces])
    return (clips * weights).sum(dim=0) / weights.sum(dim=0).clamp(min=1)
