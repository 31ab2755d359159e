"""Stage: run a frozen teacher over excerpts of a corpus and store what it gives, for distillation.

A student that is trained on stored targets costs no teacher's time, however often a crop returns:
the way to distill on a few processors. Cuts longer than an excerpt are divided; of each domain as
many hours are taken as are asked for, packages (or whatever `spread` names) in turn. Choice and
order depend on the seed and the domain alone, so teachers of one corpus share their excerpts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiossl import distributed
from audiossl.audio.resampling import resample
from audiossl.batches import TeacherFacts
from audiossl.configs import Count, Positive, Share, Whole
from audiossl.data.corpus import Corpus
from audiossl.data.layout import RECORDING, SAMPLE_RATE
from audiossl.data.teacher_targets import Excerpt, ExcerptTargets, finish_targets, write_targets
from audiossl.methods.distillation import teacher_facts
from audiossl.nn.frames import Frames
from audiossl.pretrained.identity import encoder_identity
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.sources import paths_of
from audiossl.teachers.teacher import faults
from recipes.record import digest
from recipes.shards import Outcome, Task, run_shards
from recipes.stage import Resources, Stage, main


@dataclass(frozen=True, kw_only=True)
class Config:
    """Store the frames and clip vectors that a teacher gives to excerpts of cuts."""

    cuts: Path
    """Output of a `prepare` stage."""
    output: Path
    """Folder of the targets."""
    teacher: str
    """Network that supplies the targets, as `audiossl.load_encoder` takes it."""
    hours: dict[str, Positive]
    """Maximum hours of audio of each domain: {sounds: 9, music: 3}."""
    label: str = "domain"
    """Label that names the domain of a cut."""
    spread: str = "package"
    """Label whose values take turns in giving excerpts."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the cuts that take part, as in {split: [train]}; all cuts if
    empty."""
    excerpt_duration: Positive = 10.0
    """Seconds of an excerpt; longer cuts are divided, and a rest below half of it is left out."""
    min_duration: Positive = 0.1
    """Minimum duration of an excerpt in seconds."""
    frame_rate: Positive = 12.5
    """Frames a second, about: so many frames of a faster teacher are averaged."""
    batch_duration: Positive = 40.0
    """Seconds of audio that are encoded at once, padding included."""
    seed: Whole = 0
    """Random seed of the choice of excerpts."""
    threads: Count = 1
    """Threads of each process on a CPU; rounding depends on their number."""
    max_skipped: Share = 0.02
    """Largest share of excerpts that may be left out before the stage fails."""
    resources: Resources = Resources()
    """Device and worker processes."""

    def extra_inputs(self) -> dict[str, Path]:
        """Files and folders that `teacher` names; they are fingerprinted as inputs."""
        known = [path for path in paths_of(self.teacher) if path.exists()]
        return {f"teacher.{index}": path for index, path in enumerate(known)}


def store_targets(config: Config, stage: Stage) -> dict[str, Any]:
    """Write the targets of every shard that has excerpts."""
    corpus = Corpus(config.cuts)
    teacher: Any = load_encoder(config.teacher)
    facts, identity = _stored_facts(teacher, config.frame_rate), encoder_identity(teacher)
    del teacher
    chosen = choose_excerpts(corpus, config)
    shards = sorted({int(corpus.shards[excerpt.cut]) for excerpt in chosen})
    payloads = {shard: tuple(e for e in chosen if corpus.shards[e.cut] == shard)
                for shard in shards}  # fmt: skip
    settings = (identity, facts, config.batch_duration, config.threads)
    tasks = [Task(shard, digest([settings, payload]), payload, _hours(payload))
             for shard, payload in payloads.items()]  # fmt: skip
    stage.log.info("%d excerpts, %.2f h", len(chosen), _hours(chosen))
    totals = run_shards(stage, tasks, partial(_worker, config, str(stage.device)), config.resources)
    if distributed.is_first():
        finish_targets(stage.output, shards, facts, corpus.cuts_id)
    return {**totals, "teacher": identity, "source": config.teacher}


def choose_excerpts(corpus: Corpus, config: Config) -> list[Excerpt]:
    """Choose the excerpts of each domain, in the order of the corpus."""
    labels = list(corpus.labels())
    cuts = corpus.select(config.where)
    chosen: list[Excerpt] = []
    for domain, hours in config.hours.items():
        own = [cut for cut in cuts.tolist() if labels[cut].get(config.label) == domain]
        excerpts = [e for cut in own for e in _divided(cut, int(corpus.num_samples[cut]), config)]
        groups = [labels[e.cut].get(config.spread, "") for e in excerpts]
        order = _in_turn(groups, np.random.default_rng((config.seed, *domain.encode())))
        samples = np.cumsum([excerpts[row].num_samples for row in order])
        count = int(np.searchsorted(samples, hours * 3600 * SAMPLE_RATE, side="right"))
        chosen += [excerpts[row] for row in order[:count]]
    return sorted(chosen)


def _divided(cut: int, num_samples: int, config: Config) -> Iterator[Excerpt]:
    most = round(config.excerpt_duration * SAMPLE_RATE)
    least = round(config.min_duration * SAMPLE_RATE)
    for start in range(0, num_samples, most):
        length = min(most, num_samples - start)
        if length >= (max(least, most // 2) if start else least):
            yield Excerpt(cut, start, length)


def _in_turn(groups: Sequence[str], generator: np.random.Generator) -> list[int]:
    """Order rows at random, but so that groups take turns."""
    turns: dict[str, int] = {}
    ranked: list[tuple[int, int, int]] = []
    for row in generator.permutation(len(groups)).tolist():
        turns[groups[row]] = turns.get(groups[row], 0) + 1
        ranked.append((turns[groups[row]], len(ranked), row))
    return [row for _, _, row in sorted(ranked)]


def _hours(excerpts: Sequence[Excerpt]) -> float:
    return sum(excerpt.num_samples for excerpt in excerpts) / SAMPLE_RATE / 3600


def _stored_facts(teacher: Any, frame_rate: float) -> TeacherFacts:
    """Describe a teacher's frames once they are averaged."""
    facts = teacher_facts(teacher)
    factor = averaged_frames(facts.frame_rate, frame_rate)
    later = (factor - 1) / 2 / facts.frame_rate
    return TeacherFacts(
        dim=facts.dim,
        clip_dim=facts.clip_dim,
        frame_rate=facts.frame_rate / factor,
        first_time=facts.first_time + later,
    )


def averaged_frames(own_rate: float, frame_rate: float) -> int:
    """Say how many frames are averaged to come near a rate."""
    return max(1, round(own_rate / frame_rate))


def _worker(config: Config, device: str) -> Callable[[Task], Outcome]:
    """Load the teacher once, in the process that uses it."""
    if torch.device(device).type == "cpu":
        torch.set_num_threads(config.threads)
    corpus = Corpus(config.cuts)
    teacher: Any = load_encoder(config.teacher).to(device)
    facts = _stored_facts(teacher, config.frame_rate)

    def work(task: Task) -> Outcome:
        targets: list[ExcerptTargets] = []
        skipped: list[dict[str, str]] = []
        for batch in _batches(task.payload, config.batch_duration):
            frames = _encoded(corpus, teacher, batch, device)
            names = [f"{corpus.name(e.cut)} at {e.start / SAMPLE_RATE:g} s" for e in batch]
            bad = faults(frames, names)
            skipped += [{"id": names[row], "reason": str(bad[row])} for row in bad]
            factor = averaged_frames(teacher.frame_rate, config.frame_rate)
            targets += [_targets_of(frames, row, excerpt, factor)
                        for row, excerpt in enumerate(batch) if row not in bad]  # fmt: skip
        targets.sort(key=lambda target: target.excerpt)
        files = write_targets(config.output, task.index, targets, facts)
        return Outcome(files, len(task.payload), task.hours, tuple(skipped))

    return work


def _batches(excerpts: Sequence[Excerpt], batch_duration: float) -> Iterator[list[Excerpt]]:
    """Put excerpts of like length together."""
    batch: list[Excerpt] = []
    for excerpt in sorted(excerpts, key=lambda e: (e.num_samples, e)):
        if batch and (len(batch) + 1) * excerpt.num_samples > batch_duration * SAMPLE_RATE:
            yield batch
            batch = []
        batch.append(excerpt)
    if batch:
        yield batch


@torch.no_grad()
def _encoded(corpus: Corpus, teacher: Any, batch: Sequence[Excerpt], device: str) -> Frames:
    waveforms = np.zeros((len(batch), batch[-1].num_samples), np.float32)
    for waveform, excerpt in zip(waveforms, batch, strict=True):
        waveform[: excerpt.num_samples] = corpus.waveform(
            excerpt.cut, RECORDING, excerpt.start, excerpt.num_samples
        )
    lengths = torch.tensor([excerpt.num_samples for excerpt in batch], device=device)
    rate = teacher.sample_rate
    resampled = resample(torch.from_numpy(waveforms).to(device), SAMPLE_RATE, rate)
    frames: Frames = teacher(resampled, -(-lengths * rate // SAMPLE_RATE))
    return frames


def _targets_of(frames: Frames, row: int, excerpt: Excerpt, factor: int) -> ExcerptTargets:
    """Average runs of `factor` frames; of a clip with fewer, all of them."""
    vectors: Tensor = frames.vectors[row, : int(frames.lengths[row])].float()
    whole = len(vectors) // factor * factor
    if whole:
        averaged = vectors[:whole].unflatten(0, (-1, factor)).mean(dim=1)
    else:
        averaged = vectors.mean(dim=0, keepdim=True)
    clip = np.zeros(0, np.float32) if frames.pooled is None else frames.pooled[row].cpu().numpy()
    return ExcerptTargets(excerpt, averaged.cpu().numpy(), clip)


if __name__ == "__main__":
    main(Config, store_targets, "recipes.distillation.targets")
