"""Mutations of the bytes of every format that is read: a line or a result, never a traceback."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch

from tests.data.corpora import RATE, tone
from tests.teachers import foreign
from tests.trust.forks import call, forked, last_line
from tests.trust.kinds import BODY, Case, Words, _header, _spoilt
from tests.trust.tries import LIMIT, judged
from tests.trust.world import COMMANDS


@dataclass(frozen=True)
class Mutation:
    """A file whose bytes were changed, and what came of it."""

    format: str
    seed: int
    outcome: str
    problem: str
    line: str
    """What was said last."""


def mutated(content: bytes, generator: random.Random) -> bytes:
    """Change a few bytes, or many."""
    changed = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 5, 20))):
        place = generator.randrange(len(changed) + 1)
        length = generator.choice((1, 1, 4, 64, len(changed) // 4 + 1))
        kind = generator.randrange(5)
        if kind == 0:
            changed[place : place + 1] = bytes([generator.randrange(256)])
        elif kind == 1:
            del changed[place:]
        elif kind == 2:
            changed[place:place] = changed[place : place + length]
        elif kind == 3:
            changed[place:place] = generator.randbytes(length)
        else:
            changed[place : place + length] = bytes(len(changed[place : place + length]))
    return bytes(changed)


def mutation(name: str, seed: int, world: Path, scratch: Path) -> Mutation:
    """Try one mutation of a format; the same for the same seed."""
    folder = scratch / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    generator = random.Random(f"{name}-{seed}")

    def change(path: Path) -> None:
        path.write_bytes(mutated(path.read_bytes(), generator))

    program, words = FORMATS[name](Case(folder, world), change)
    done = forked(call(program, words), timeout=LIMIT, cwd=folder)
    outcome, problem = judged(done, folder, "clean")
    shutil.rmtree(folder, ignore_errors=True)
    return Mutation(name, seed, outcome, problem, last_line(done.err or done.out))


Change = Callable[[Path], None]


def _sound(suffix: str, **options: str) -> Callable[[Case, Change], Words]:
    def make(case: Case, change: Change) -> Words:
        path = case.folder / f"x.{suffix}"
        if suffix == "wav":
            path.write_bytes(_header() + BODY)
        else:
            soundfile.write(path, tone(0.6, 440), RATE, **options)
        change(path)
        return "audiossl", ["embed", path.name, "--device", "cpu"]

    return make


def _text(way: str, file: str, content: str, *words: str) -> Callable[[Case, Change], Words]:
    def make(case: Case, change: Change) -> Words:
        (case.folder / "in").mkdir()
        soundfile.write(case.folder / "in" / "a.wav", tone(0.6, 440), RATE)
        (case.folder / "in" / "wav.scp").write_text("a in/a.wav\n")
        path = case.folder / file
        path.write_text(content.replace("WORLD", str(case.world)))
        change(path)
        fixed = ["--max_skipped", "0.9", "--output", "out", "--resources.device", "cpu"]
        return f"recipes.prepare.{way}", [*words, *fixed]

    return make


def _stage(stage: str, file: str) -> Callable[[Case, Change], Words]:
    return lambda case, change: _spoilt(stage, file, change)(case)


def _audiossl(file: str, *words: str) -> Callable[[Case, Change], Words]:
    def make(case: Case, change: Change) -> Words:
        folder, _, inside = file.partition("/")
        change(case.copy(folder) / inside)
        return "audiossl", list(words)

    return make


def _checkpoint(case: Case, change: Change) -> Words:
    """Go on with a run whose last checkpoint was changed."""
    folder = case.copy("cola")
    change(folder / "checkpoints" / "step-00000006.pt")
    record = json.loads((folder / "stage.json").read_text())
    (folder / "stage.json").write_text(json.dumps(record | {"finished": None}))
    words = [
        word.replace("{out}", "cola").replace("{here}", str(case.world))
        for word in COMMANDS["cola"].words
    ]
    return COMMANDS["cola"].program, words


def _public(case: Case, change: Change) -> Words:
    from audiossl.pretrained import spear
    from audiossl.pretrained.load import load_encoder

    path = case.folder / "x.pt"
    encoder = load_encoder(case.world / "spear")
    spear.write_icefall(path, spear.SpearCheckpoint(encoder.config, encoder.state_dict(), {}))
    change(path)
    soundfile.write(case.folder / "a.wav", tone(0.6, 440), RATE)
    return "audiossl", ["embed", "a.wav", "--encoder", "spear:x.pt", "--device", "cpu"]


def _foreign(kind: str, name: str) -> Callable[[Case, Change], Words]:
    def make(case: Case, change: Change) -> Words:
        torch.save(foreign.dump(name), case.folder / "x.pt")
        change(case.folder / "x.pt")
        soundfile.write(case.folder / "a.wav", tone(0.6, 440), RATE)
        return "audiossl", ["embed", "a.wav", "--encoder", f"{kind}:x.pt", "--device", "cpu"]

    return make


def _units(case: Case, change: Change) -> Words:
    change(case.copy("quantizer") / "frames_of.json")
    audio = str(case.world / "audio")
    return "audiossl", ["tokenize", audio, "--quantizer", "quantizer", "--device", "cpu"]


def _reference_quantizer(case: Case, change: Change) -> Words:
    from audiossl.quantization.direct_sum import DirectSumQuantizer

    path = case.folder / "q.pt"
    books = torch.Generator().manual_seed(0)
    quantizer = DirectSumQuantizer(20, 16, 2)
    state = {
        name: torch.randn(value.shape, generator=books)
        for name, value in quantizer.state_dict().items()
    }
    torch.save(state, path)
    change(path)
    return "recipes.spear.encode", [
        "--cuts", str(case.world / "cuts"), "--teacher", "log_mel:20", "--quantizer", "q.pt",
        "--field", "speech", "--output", "out", "--resources.device", "cpu",
    ]  # fmt: skip


LINE = (
    '{"id": "a", "sources": [{"type": "file", "channels": [0], "source": "in/a.wav"}], '
    '"sampling_rate": 16000, "num_samples": 9600, "duration": 0.6, "channel_ids": [0]}\n'
)
FORMATS: dict[str, Callable[[Case, Change], Words]] = {
    "wav": _sound("wav"),
    "flac": _sound("flac"),
    "ogg": _sound("ogg"),
    "mp3": _sound("mp3"),
    "csv": _text(
        "folder", "l.csv", "path,kind\na.wav,x\n", "--folder", "in", "--labels", "[l.csv]"
    ),
    "tsv": _text(
        "folder", "l.tsv", "path\tkind\na.wav\tx\n", "--folder", "in", "--labels", "[l.tsv]"
    ),
    "wav.scp": _text("kaldi", "in/wav.scp", "a in/a.wav\nb in/a.wav\n", "--folder", "in"),
    "segments": _text("kaldi", "in/segments", "u a 0.0 0.3\nv a 0.3 0.6\n", "--folder", "in"),
    "text": _text("kaldi", "in/text", "a some words\n", "--folder", "in"),
    "manifest of lhotse": _text("lhotse", "m.jsonl", LINE, "--manifest", "m.jsonl"),
    "YAML": _text(
        "folder", "c.yaml", "shard_size: 3\nmax_duration: 9.5\nencoding: flac\n", "--folder", "in",
        "--config", "c.yaml",
    ),
    "shard": _stage("cola", "cuts/shar/recording.000000.tar"),
    "cuts.jsonl.gz": _stage("fitted", "cuts/shar/cuts.000000.jsonl.gz"),
    "column": _stage("cola", "cuts/columns/recording/offset.npy"),
    "corpus.json": _stage("cola", "cuts/corpus.json"),
    "config.json": _stage("embeddings", "cola/config.json"),
    "encoder.safetensors": _stage("embeddings", "cola/encoder.safetensors"),
    "checkpoint": _checkpoint,
    "codes": _stage("spear", "codes/shar/speech.000000.tar"),
    "quantizer": _stage("codes", "quantizer/quantizer.safetensors"),
    "frames.npy": _stage("quantizer", "sample/frames.npy"),
    "embeddings.json": _stage("fitted", "embeddings/embeddings.json"),
    "embeddings": _stage("fitted", "embeddings/cola/000000.safetensors"),
    "scores.json": _stage("report", "fitted/scores.json"),
    "predictions": _audiossl("fitted/predictions/kind/cola.linear.npz", "compare", "fitted"),
    "metrics.jsonl": _stage("report", "cola/metrics.jsonl"),
    "pairs.json": _stage("matching", "pairs/pairs.json"),
    "targets.json": _stage("distilled", "targets/targets.json"),
    "targets": _stage("distilled", "targets/columns/targets/num_frames.npy"),
    "code_matching.safetensors": _stage("evaluated", "matching/code_matching.safetensors"),
    "pairs.jsonl": _stage("matching", "pairs/pairs.jsonl"),
    "frames_of.json": _units,
    "SPEAR's .pt": _public,
    "fairseq's .pt": _foreign("fairseq", "hubert"),
    "BEATs' .pt": _foreign("beats", "beats"),
    "EAT's .pt": _foreign("eat", "eat"),
    "M2D's .pth": _foreign("m2d", "m2d"),
    "quantizer of multi_quantization": _reference_quantizer,
}  # fmt: skip
"""Formats, and for each what makes a file, changes it, and says what reads it."""
