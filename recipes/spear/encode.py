"""Stage: a teacher encodes a corpus, a quantizer its frames; codes become a field beside it.

Frames go from the teacher to the quantizer and are never written. Codes lie in tars of their own,
`shar/<field>.000012.tar`: another teacher's codes are another run of this stage into another
folder, and nothing that exists is touched.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audiossl import distributed
from audiossl.atomic_files import read_json
from audiossl.configs import Positive
from audiossl.data.code_writing import finish_codes, write_codes
from audiossl.data.codes import CodeFacts
from audiossl.data.corpus import Corpus
from audiossl.data.layout import RECORDING
from audiossl.data.reading import SAMPLE_RATE
from audiossl.errors import Skip, UserError
from audiossl.nn.codes import Codes
from audiossl.pretrained.identity import encoder_identity
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.units import QUANTIZER
from audiossl.quantization.quantizer import CodebookQuantizer, code_dtype
from audiossl.quantization.storage import load_quantizer
from recipes.record import digest
from recipes.shards import Outcome, Task, run_shards
from recipes.spear.teacher_frames import TeacherConfig, TeacherFrames
from recipes.stage import Stage, main

BYTES_PER_CUT = 2300
"""What a tar takes for each array beside its values: headers, description, rounding up."""


@dataclass(frozen=True, kw_only=True)
class Config(TeacherConfig):
    """Give the cuts of a corpus the codes of a teacher."""

    quantizer: Path
    """Output of `recipes.spear.train_quantizer`, or a file: one of this package, or a state dict of
    the public multi_quantization library (.pt)."""
    field: str
    """Name of the cuts' field that holds the codes: speech, audio, ..."""
    frame_rate: Positive | None = None
    """Codes per second, for a teacher whose rate fits no student: each is of the teacher's frame
    that sounds then. Null: the rate of the teacher."""


def encode(config: Config, stage: Stage) -> dict[str, Any]:
    """Write the codes of every shard."""
    if not config.field.isidentifier() or config.field in ("cuts", RECORDING):
        raise UserError(f"field {config.field!r}: choose a word that is not taken, as in speech")
    corpus = Corpus(config.cuts)
    teacher: Any = load_encoder(config.teacher)
    quantizer, identity = _quantizer(config.quantizer), encoder_identity(teacher)
    quantizer.check_dim(teacher.dim)
    _check_teacher(config, identity)
    rate = config.frame_rate or teacher.frame_rate
    kind = str(code_dtype(quantizer.codebook_size)).removeprefix("torch.")
    facts = CodeFacts(quantizer.id, rate, quantizer.num_codebooks, quantizer.codebook_size, kind)
    _announce(stage, corpus, config, facts, teacher.dim)
    settings = (config.window_duration, config.batch_duration, config.precision, config.threads)
    made_of = digest([identity, facts, config.field, config.where, settings])
    del teacher
    hours = corpus.shard_hours(corpus.select(config.where))
    tasks = [Task(shard, made_of, shard, hours[shard]) for shard in range(corpus.num_shards)]
    totals = run_shards(stage, tasks, partial(_worker, config, str(stage.device)), config.resources)
    if distributed.is_first():
        finish_codes(corpus.folder, stage.output, config.field, facts)
    return {**totals, "quantizer": facts.quantizer_id, "teacher": identity}


def _quantizer(path: Path) -> CodebookQuantizer:
    return load_quantizer(path / QUANTIZER if path.is_dir() else path)


def _check_teacher(config: Config, identity: str) -> None:
    """Refuse a quantizer that was trained on frames of another teacher."""
    record = config.quantizer / "stage.json"
    if not record.exists():
        return
    trained_on = read_json(record)["results"].get("teacher")
    if trained_on not in (None, identity):
        raise UserError(
            f"{config.quantizer}: was trained on frames of teacher {trained_on}, but "
            f"{config.teacher} is {identity} (another layer, or other weights?): give the teacher "
            "of its sample, or train a quantizer on a sample of this one"
        )


def _announce(stage: Stage, corpus: Corpus, config: Config, facts: CodeFacts, dim: int) -> None:
    cuts = corpus.select(config.where)
    hours = float(corpus.num_samples[cuts].sum()) / SAMPLE_RATE / 3600
    frames = 3600 * facts.frame_rate
    width = torch.empty(0, dtype=getattr(torch, facts.dtype)).element_size()
    codes, features = frames * facts.num_codebooks * width / 2**20, frames * dim * 2 / 2**20
    in_all = codes * hours + len(cuts) * BYTES_PER_CUT / 2**20
    stage.log.info(
        "%d cuts, %.2f h in %d shards; %d codes of %d at %g Hz: %.2f MiB an hour, %.1f MiB in all "
        "with %d bytes a cut beside them (frames of %d, which are not written, would take %.0f MiB "
        "an hour, %.0f MiB in all)",
        len(cuts), hours, corpus.num_shards, facts.num_codebooks, facts.codebook_size,
        facts.frame_rate, codes, in_all, BYTES_PER_CUT, dim, features, features * hours,
    )  # fmt: skip


def _worker(config: Config, device: str) -> Callable[[Task], Outcome]:
    """Load teacher and quantizer once, in the process that uses them."""
    corpus = Corpus(config.cuts)
    teacher = TeacherFrames(corpus, config, device, config.frame_rate)
    encoder = _Encoder(teacher, _quantizer(config.quantizer).to(device))
    wanted = set(corpus.select(config.where).tolist())

    def work(task: Task) -> Outcome:
        cuts = corpus.shard_cuts(task.index).tolist()
        rows = [cut for cut in cuts if cut in wanted]
        codes, faults = encoder.codes(rows)
        named = ((corpus.name(cut), codes.get(cut)) for cut in cuts)
        files = write_codes(config.output, config.field, task.index, named)
        skipped = tuple(
            {"id": corpus.name(cut), "reason": str(fault)} for cut, fault in sorted(faults.items())
        )
        hours = float(corpus.num_samples[rows].sum()) / SAMPLE_RATE / 3600
        figures = {"frames": float(sum(len(coded.values) for coded in codes.values()))}
        return Outcome(files, len(rows), hours, skipped, figures)

    return work


class _Encoder:
    """Teacher, then quantizer, a batch at a time."""

    def __init__(self, teacher: TeacherFrames, quantizer: CodebookQuantizer) -> None:
        self.teacher, self.quantizer, self.quantizer_id = teacher, quantizer, quantizer.id

    def codes(self, cuts: list[int]) -> tuple[dict[int, Codes], dict[int, Skip]]:
        """Encode cuts; those with a fault have no codes."""
        pieces: dict[int, dict[int, Tensor]] = {}
        faults: dict[int, Skip] = {}
        for cut, start, values, fault in self._pieces(cuts):
            if fault is not None:
                faults[cut] = fault
            else:
                pieces.setdefault(cut, {})[start] = values
        rate = self.teacher.frame_rate
        codes = {
            cut: Codes(torch.cat([coded[s] for s in sorted(coded)]), self.quantizer_id, rate)
            for cut, coded in pieces.items()
            if cut not in faults
        }
        return codes, faults

    def _pieces(self, cuts: list[int]) -> Iterator[tuple[int, int, Tensor, Skip | None]]:
        for batch in self.teacher.batches(cuts):
            values = self.quantizer.encode(torch.cat(batch.frames)).cpu()
            parts = values.split([len(frames) for frames in batch.frames])
            for span, part in zip(batch.spans, parts, strict=True):
                yield span.cut, span.start, part, batch.faults.get(span.cut)


if __name__ == "__main__":
    main(Config, encode, "recipes.spear.encode")
