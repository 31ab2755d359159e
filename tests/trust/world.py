"""A corpus of tones and noises, and small runs of every stage on it: what trust is tested on."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.contracts import ENCODERS
from tests.experiment import TASKS, TINY, write_audio
from tests.trust.forks import call, forked

LOOP = ["--loop.steps", "6", "--resources.log_every", "2", "--resources.save_every", "2"]
CPU = ["--resources.device", "cpu"]
SPEAR = [
    "--encoder", "{kind: zipformer, dim: 16, feed_forward_dim: 32, num_layers: [1, 1], "
    "strides: [1, 2], kernel_sizes: [7, 7], num_heads: 2, query_dim: 4, position_dim: 8, "
    "value_dim: 4, unmasked_dim: 8, machinery: false}",
    "--data", "{targets: {audio: [speech]}, min_duration: 0.4}",
    "--plan", "{batch_size: 4, num_buckets: 2, multiple: 2}",
    "--loop.optimizer", "{kind: scaled_adam, schedule: {kind: eden, warmup_steps: 2}}",
    "--loop.averaging", "{period: 2, last: 4}",
]  # fmt: skip
SIDE = "{kind: frames, convolutions: {dim: 8, strides: [2], blocks: 1, kernel: 3}}"
MATCHING = [
    "--encoders", f"{{mixture: {SIDE}, stem: {SIDE}}}",
    "--method", "{embedding_dim: 12, codebook: {codebook_size: 10, dim: 6}}",
    "--batch_size", "4",
]  # fmt: skip
CROPS = ["--crops.label", "kind", "--crops.lengths", "[0.5]", "--crops.batch_duration", "2"]
FEDERATED = [
    *TINY, "--loop.steps", "2", "--views.crop_samples", "8000", "--batch_size", "4",
    "--clients.label", "kind", "--rounds", "3",
]  # fmt: skip
CLASSES = ["--train", "{label: kind, where: {split: [train]}}", "--plan.batch_size", "4"]


@dataclass(frozen=True)
class Command:
    """A stage and its words; {out} is its output, and {here} the world."""

    program: str
    words: tuple[str, ...]

    def call(self, here: Path, out: Path):
        """Return what runs it."""
        places = {"{out}": str(out), "{here}": str(here)}
        words = []
        for word in self.words:
            for name, place in places.items():
                word = word.replace(name, place)
            words.append(word)
        return call(self.program, words)


def _stage(program: str, *words: str) -> Command:
    return Command(f"recipes.{program}", (*words, "--output", "{out}", *CPU))


CUTS = ("--cuts", "{here}/cuts")
COMMANDS: dict[str, Command] = {
    "cuts": _stage(
        "prepare.folder", "--folder", "{here}/audio", "--only_labeled", "true",
        "--labels", "[{here}/audio/labels.csv]", "--shard_size", "8",
    ),
    "kaldi_cuts": _stage("prepare.kaldi", "--folder", "{here}/kaldi", "--shard_size", "6"),
    "lhotse_cuts": _stage(
        "prepare.lhotse", "--manifest", "{here}/recordings.jsonl", "--shard_size", "6"
    ),
    "stems": _stage(
        "source_association.separate", *CUTS, "--originals", "{here}/audio",
        "--separator", "{kind: given, sources: {low: low, high: high}, absent: silent}",
        "--where", "{kind: [song]}",
    ),
    "sample": _stage(
        "spear.embed_sample", *CUTS, "--teacher", "log_mel:20", "--num_frames", "800",
        "--max_hours", "0.1",
    ),
    "quantizer": _stage(
        "spear.train_quantizer", "--frames", "{here}/sample", "--quantizer",
        "{kind: direct_sum, num_codebooks: 2, phase_steps: [15, 15], batch_size: 32}",
        "--resources.save_every", "5",
    ),
    "codes": _stage(
        "spear.encode", *CUTS, "--teacher", "log_mel:20", "--quantizer", "{here}/quantizer",
        "--field", "speech",
    ),
    "cola": _stage(
        "cola.pretrain", *TINY, *LOOP, *CUTS, "--batch_size", "4", "--views.crop_samples", "8000",
        "--where", "{split: [train]}",
    ),
    "source": _stage(
        "source_association.pretrain", *TINY, *LOOP, *CUTS, "--stems", "{here}/stems",
        "--batch_size", "4", "--views.crop_samples", "8000", "--where", "{split: [train]}",
        "--views.sources", "{mixture: 1, low: 1, high: 1}", "--views.silent", "true",
    ),
    "spear": _stage(
        "spear.pretrain", *SPEAR, *LOOP, "--corpora",
        "[{cuts: {here}/cuts, codes: [{here}/codes], domain: audio}]",
    ),
    "pairs": _stage(
        "code_matching.pairs", "--cuts", "[{here}/cuts,{here}/stems]", "--max_skipped", "0.5",
        "--pairs", "{kind: stems, window: 0.5, hop: 0.5}", "--where", "{kind: [song]}",
        "--modalities", '{mixture: {kind: sound, encoder: "log_mel:20"}, '
        'stem: {kind: sound, encoder: "log_mel:20"}}', "--shard_size", "6",
    ),
    "matching": _stage("code_matching.pretrain", "--pairs", "{here}/pairs", *MATCHING, *LOOP),
    "evaluated": _stage(
        "code_matching.evaluate", "--pairs", "{here}/pairs", "--runs", "[{here}/matching]",
        "--cuts", "[{here}/cuts,{here}/stems]",
    ),
    "targets": _stage(
        "distillation.targets", *CUTS, "--teacher", "log_mel:20", "--label", "kind",
        "--hours", "{tone: 1, noise: 1}", "--spread", "split", "--frame_rate", "50",
    ),
    "distilled": _stage(
        "distillation.pretrain", *LOOP, *CUTS, *CROPS, "--crops.shares", "{tone: 1, noise: 1}",
        "--encoder", ENCODERS["layered"], "--targets", "{mel: {here}/targets}",
        "--method.teachers", "{mel: {source: 'log_mel:20'}}",
    ),
    "waveforms": _stage(
        "waveforms.pretrain", *LOOP, *CUTS, "--encoder", ENCODERS["patch_transformer"],
        "--plan", "{batch_size: 4, num_buckets: 1}",
    ),
    "privileged": _stage(
        "privileged.pretrain", *LOOP, *CUTS, "--stems", "{here}/stems", *CROPS,
        "--crops.shares", "{song: 1}", "--teacher", "{here}/cola",
        "--encoder", ENCODERS["patch_transformer"],
    ),
    "federated": _stage("federated.pretrain", *FEDERATED, *CUTS),
    "tuned": _stage(
        "finetune", *LOOP, *CUTS, *CLASSES, "--encoder", "{here}/cola", "--target", "classes",
        "--method.input", "output",
    ),
    "heads": _stage(
        "probe.sequence", *CUTS, "--encoders", "{mel: 'log_mel:8'}", "--tasks",
        "[{name: kind, target: classes, train: {label: kind, where: {split: [train]}}, "
        "plan: {batch_size: 4}, loop: {steps: 4}}]",
    ),
    "embeddings": _stage(
        "probe.embed", *CUTS, "--encoders", "{cola: {here}/cola, source: {here}/source}"
    ),
    "fitted": _stage(
        "probe.fit", *CUTS, "--embeddings", "{here}/embeddings", "--tasks", TASKS,
        "--bootstrap.replicates", "20",
    ),
    "report": _stage(
        "probe.report", "--fitted", "{here}/fitted", "--runs", "{cola: {here}/cola}",
        "--batches", "2",
    ),
}  # fmt: skip
"""Name of an output to what makes it, in an order in which inputs are there."""
SECONDS = "seconds.json"
"""How long each took."""


def build(here: Path) -> Path:
    """Make everything in a folder, unless it is there."""
    if (here / SECONDS).exists():
        return here
    shutil.rmtree(here, ignore_errors=True)
    write_audio(here / "audio")
    sounds = sorted((here / "audio" / "sounds").glob("*.wav"))
    (here / "kaldi").mkdir()
    (here / "kaldi" / "wav.scp").write_text("".join(f"{p.stem} {p}\n" for p in sounds))
    (here / "kaldi" / "text").write_text("".join(f"{p.stem} word {p.stem}\n" for p in sounds))
    (here / "recordings.jsonl").write_text("".join(_recording(p) for p in sounds))
    seconds = {}
    for name, command in COMMANDS.items():
        done = forked(command.call(here, here / name), timeout=300)
        if done.code:
            raise RuntimeError(f"{name}: exit code {done.code}\n{done.err[-4000:]}")
        seconds[name] = done.seconds
    (here / SECONDS).write_text(json.dumps(seconds))
    return here


def _recording(path: Path) -> str:
    import soundfile

    info = soundfile.info(path)
    source = {"type": "file", "channels": [0], "source": str(path)}
    row = {
        "id": path.stem, "sources": [source], "sampling_rate": info.samplerate,
        "num_samples": info.frames, "duration": info.duration, "channel_ids": [0],
    }  # fmt: skip
    return json.dumps(row) + "\n"
