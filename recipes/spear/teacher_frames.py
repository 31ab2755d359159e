"""Frames of a teacher for the cuts of a shard: batches of like length, long cuts in windows.

What is encoded together depends on the shard alone, so that every engine, and every resumed run,
gives the same frames. Nothing is kept: a batch of frames is used and forgotten.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.audio.frame_rates import nearest_frames, num_whole_frames
from audiossl.audio.resampling import resample
from audiossl.audio.windows import context_spans
from audiossl.configs import Count, Positive, Share
from audiossl.data.corpus import Corpus
from audiossl.data.reading import SAMPLE_RATE
from audiossl.errors import Skip, UserError
from audiossl.models.batching import Batching, batches_of
from audiossl.nn.padding import padded
from audiossl.preemption import safe_point
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.sources import paths_of
from audiossl.teachers.teacher import faults
from recipes.stage import Resources

CONTEXT = 1.0
"""Seconds that are encoded beyond what is kept of a window, on either side."""


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """Settings of every stage in which a teacher encodes a corpus."""

    cuts: Path
    """Output of a `prepare` stage."""
    output: Path
    """Folder of the results."""
    teacher: str
    """Network that supplies the targets, as `audiossl.load_encoder` takes it: `hf:<folder>#21`,
    `dasheng:<file>`, `log_mel:80`, ..., several joined by `+`, or the output of a `pretrain` stage:
    an own encoder teaches the next one."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the cuts that are encoded, as in {domain: [speech]}; all if
    empty."""
    window_duration: Positive = 40.0
    """Seconds of a window; longer cuts are encoded in windows, with a second of context on either
    side."""
    batch_duration: Positive = 40.0
    """Seconds of audio encoded at once, padding included: as much as fits on an accelerator."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number type in which the teacher computes; bfloat16 is several times faster on an
    accelerator."""
    threads: Count = 1
    """Threads of each process on a CPU. Rounding depends on their number, so it belongs to the
    identity of the result; to use more processors, take more resources.workers."""
    max_skipped: Share = 0.01
    """Largest share of cuts that may be left out before the stage fails."""
    resources: Resources = Resources()
    """Device and worker processes."""

    def extra_inputs(self) -> dict[str, Path]:
        """Files and folders that `teacher` names; they are fingerprinted as inputs."""
        known = [path for path in paths_of(self.teacher) if path.exists()]
        return {f"teacher.{index}": path for index, path in enumerate(known)}


@dataclass(frozen=True)
class Span:
    """A stretch of a cut that is encoded at once, and which of its frames are kept."""

    cut: int
    start: int
    """First sample."""
    num_samples: int
    drop: int
    """Frames at the beginning that were only context."""
    keep: int
    """Frames after those, if the teacher gives so many."""
    is_last: bool
    """Whether the cut ends with it."""


@dataclass(frozen=True)
class SpanFrames:
    """Frames of a batch of spans."""

    spans: list[Span]
    frames: list[Float[Tensor, "_ dim"]]
    """Kept frames of each span; none where something is wrong with it."""
    faults: dict[int, Skip]
    """Reason for each cut that cannot be used."""


class TeacherFrames:
    """A teacher and the corpus that it encodes; built in the process that uses it."""

    def __init__(
        self, corpus: Corpus, config: TeacherConfig, device: str, frame_rate: float | None = None
    ) -> None:
        """Load the teacher.

        Args:
            corpus: Corpus of the cuts.
            config: Teacher, windows and batches.
            device: Device on which it computes.
            frame_rate: Frames a second of the result, each the teacher's at that time; None: the
                teacher's own rate.
        """
        if torch.device(device).type == "cpu":
            torch.set_num_threads(config.threads)
        self.corpus, self.config, self.device = corpus, config, device
        teacher: Any = load_encoder(config.teacher)
        self.teacher = teacher.to(device)
        self.frame_rate: float = frame_rate or self.teacher.frame_rate

    @torch.no_grad()
    def batches(self, cuts: Sequence[int] | Int[np.ndarray, " cuts"]) -> Iterator[SpanFrames]:
        """Yield frames of all cuts, the shortest spans first."""
        spans = [
            span
            for cut in cuts
            for span in spans_of(
                int(cut),
                int(self.corpus.num_samples[cut]),
                self.frame_rate,
                self.config.window_duration,
            )
        ]
        lengths = np.array([span.num_samples for span in spans])
        batching = Batching(batch_seconds=self.config.batch_duration, most_padding=1.0)
        for rows in batches_of(lengths, batching, SAMPLE_RATE, longest_first=False):
            safe_point()
            yield self._encoded([spans[row] for row in rows])

    def _encoded(self, spans: list[Span]) -> SpanFrames:
        waveforms, lengths = padded(
            self.corpus.waveform(span.cut, start=span.start, num_samples=span.num_samples)
            for span in spans
        )
        rate, lengths = self.teacher.sample_rate, lengths.to(self.device)
        resampled = resample(waveforms.to(self.device), SAMPLE_RATE, rate)
        with self._autocast():
            frames = self.teacher(resampled, -(-lengths * rate // SAMPLE_RATE))
        skips = faults(frames, [f"cut {self.corpus.name(span.cut)}" for span in spans])
        bad = {spans[row].cut: fault for row, fault in skips.items()}
        valid_frames = []
        for row, (span, length) in enumerate(zip(spans, frames.lengths.tolist(), strict=True)):
            given = self._at_rate(frames.vectors[row, :length].float(), span)
            rows = given[span.drop : span.drop + span.keep]
            bad |= self._misfit(span, len(rows)) if span.cut not in bad else {}
            valid_frames.append(rows if span.cut not in bad else rows[:0])
        return SpanFrames(spans, valid_frames, bad)

    def _at_rate(self, frames: Float[Tensor, "_ dim"], span: Span) -> Float[Tensor, "_ dim"]:
        """Bring frames to the rate that is asked for, up to the end of the span."""
        if self.frame_rate == self.teacher.frame_rate or len(frames) == 0:
            return frames
        num_frames = num_whole_frames(span.num_samples / SAMPLE_RATE, self.frame_rate)
        return nearest_frames(frames, self.teacher.frame_rate, self.frame_rate, num_frames)

    def _misfit(self, span: Span, num_frames: int) -> dict[int, Skip]:
        name = f"cut {self.corpus.name(span.cut)}"
        if num_frames == 0:
            return {span.cut: Skip(f"{name}: shorter than one frame of its teacher")}
        if num_frames < span.keep and not span.is_last:
            raise UserError(
                f"{name}: teacher {self.config.teacher} gives {num_frames} of {span.keep} frames "
                "in a window: it cannot encode windows; set window_duration above the "
                "longest cut"
            )
        return {}

    def _autocast(self) -> Any:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, torch.bfloat16)


def spans_of(
    cut: int, num_samples: int, frame_rate: float, window_duration: float
) -> Iterator[Span]:
    """List what is encoded of a cut at once: all of it, or windows on the grid of its frames."""
    num_frames = num_whole_frames(num_samples / SAMPLE_RATE, frame_rate)
    if num_samples <= window_duration * SAMPLE_RATE:
        yield Span(cut, 0, num_samples, 0, num_frames, is_last=True)
        return
    window = num_whole_frames(window_duration, frame_rate)
    context, hop = math.ceil(CONTEXT * frame_rate), SAMPLE_RATE / frame_rate
    for span in context_spans(num_frames, window, context):
        start, end = round(span.begin * hop), min(num_samples, round(span.end * hop))
        is_last = span.first + window >= num_frames
        yield Span(cut, start, end - start, span.first - span.begin, span.keep, is_last)
