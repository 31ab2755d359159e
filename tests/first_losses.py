"""The first losses of every method on the mini corpus, which no rearrangement of code may change.

    python -m tests.first_losses            print them, and by how much they differ from the file
    python -m tests.first_losses --check    fail where they differ by more than rounding
    python -m tests.first_losses --exact --golden FILE    fail where a last digit differs
    python -m tests.first_losses --write --golden FILE    write a file, at another commit say

tests/golden/first_losses.json is of commit 5362d11. It was written there because sums in another
order had come within 1e-4 of what it was, and on some processors beyond: front ends since a5a11bc,
whose losses are git show 1c63363:<the file>; those of b13bcf8, which mended SPEAR's schedules and
its positional skip: git show b13bcf8:<the file>.
Each run is a few steps of a small network on some clips of egs/mini, on the CPU, by the stages
that users run. On one machine the numbers are the same to the last digit.
"""

import argparse
import csv
import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import torch

from recipes.settings import read_settings
from recipes.stage import run

ROOT = Path(__file__).parents[1]
MINI, GOLDEN = ROOT / "egs/mini", ROOT / "tests/golden/first_losses.json"
FIRST, LATER = 1e-5, 1e-4
"""Relative difference that rounding may make: of the first loss, and of those after Adam's steps,
which divide gradients by their own size."""
LOOSER = {"source_association": 5e-4}
"""Of runs that amplify it: without vector instructions (ATEN_CPU_CAPABILITY=default) the third loss
of this one differed by 1.1e-4; of the others none by more than 8e-6."""
CLIPS = {"speech": 48, "sounds": 24, "music": 8}
"""Clips of each domain that take part: every so many of the table."""
STEPS = ["--loop.steps", "4", "--resources.log_every", "1", "--resources.device", "cpu"]
SMALL = ["--encoder.width", "0.25", "--encoder.depth", "0.3"]


def stage(module: str, work: str, *words: str) -> None:
    """Run a stage in this process."""
    found = import_module(f"recipes.{module}")
    run(read_settings(found.Config, found.__name__, words), getattr(found, work), found.__name__)


def prepare(here: Path) -> None:
    """Write manifests of some clips, and their stems."""
    labels = import_module_from(MINI / "local/labels.py").rows(MINI / "data")
    chosen = []
    for domain, count in CLIPS.items():
        rows = [row for row in labels if row["domain"] == domain]
        chosen += rows[:: max(1, len(rows) // count)][:count]
    columns = list(dict.fromkeys(name for row in chosen for name in row))
    here.mkdir(parents=True, exist_ok=True)
    with (here / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(chosen)
    stage(
        "prepare.folder", "prepare", "--folder", f"{MINI / 'data'}", "--only_labeled", "true",
        "--labels", f"[{here / 'labels.csv'}]", "--output", f"{here / 'cuts'}",
    )  # fmt: skip
    stage(
        "source_association.separate", "separate", "--config", f"{MINI / 'conf/given_stems.yaml'}",
        "--cuts", f"{here / 'cuts'}", "--originals", f"{MINI / 'data'}",
        "--output", f"{here / 'stems'}",
    )  # fmt: skip


def views(here: Path) -> None:
    """Train COLA and source association."""
    conf = MINI / "cola/conf"
    for name, more in {
        "cola": [],
        "cola_bilinear": ["--method.similarity", "bilinear"],
    }.items():
        stage(
            "cola.pretrain", "cola", "--config", f"{conf / 'cola.yaml'}", *SMALL, *more, *STEPS,
            "--batch_size", "8", "--cuts", f"{here / 'cuts'}", "--output", f"{here / name}",
        )  # fmt: skip
    stage(
        "source_association.pretrain", "associate", "--config", f"{conf / 'cola.yaml'}",
        "--config", f"{conf / 'source.yaml'}", *SMALL, *STEPS, "--batch_size", "8",
        "--cuts", f"{here / 'cuts'}", "--stems", f"{here / 'stems'}",
        "--where", "{domain: [music]}", "--output", f"{here / 'source_association'}",
    )  # fmt: skip


def spear(here: Path) -> None:
    """Encode clips with two teachers, and train on their codes, with and without machinery."""
    cuts = f"{here / 'cuts'}"
    for name, where in {"speech": "{}", "audio": "{domain: [sounds, music]}"}.items():
        folder = here / f"codes_{name}"
        common = ["--cuts", cuts, "--teacher", "log_mel:40", "--where", where]
        stage(
            "spear.embed_sample", "embed_sample", *common, "--num_frames", "2000",
            "--max_hours", "0.1", "--output", f"{folder / 'sample'}",
        )  # fmt: skip
        stage(
            "spear.train_quantizer", "train", "--config",
            f"{MINI / 'spear/conf/quantizer_smoke.yaml'}",
            "--frames", f"{folder / 'sample'}", "--output", f"{folder / 'quantizer'}",
        )  # fmt: skip
        stage(
            "spear.encode", "encode", *common, "--quantizer", f"{folder / 'quantizer'}",
            "--field", name, "--output", f"{folder / 'codes'}",
        )  # fmt: skip
    configs = [
        word
        for path in (ROOT / "recipes/spear/conf/tiny.yaml", MINI / "spear/conf/encoder.yaml")
        for word in ("--config", f"{path}")
    ]
    speech, audio = (f"{here / f'codes_{name}' / 'codes'}" for name in ("speech", "audio"))
    corpora = (
        f"[{{cuts: {cuts}, codes: [{speech}], domain: speech, where: {{domain: [speech]}}}}, "
        f"{{cuts: {cuts}, codes: [{speech}, {audio}], domain: audio, "
        "where: {domain: [sounds, music]}}]"
    )
    for name, more in {
        "spear": [],
        "spear_machinery": [
            "--encoder.machinery", "true", "--data.noise", f"[{cuts}]", "--method.mixing",
            "{speech_probability: 0.5, audio_probability: 0.5, utterance_share: 0.5}",
        ],
    }.items():  # fmt: skip
        stage(
            "spear.pretrain", "spear", *configs, "--corpora", corpora, "--data.max_duration", "4",
            "--plan", "{batch_duration: 16, num_buckets: 2, multiple: 2}", *more, *STEPS,
            "--loop.averaging", "{period: 2, last: 2}", "--output", f"{here / name}",
        )  # fmt: skip


def code_matching(here: Path) -> None:
    """Train two encoders and their codebook: speech with transcripts, mixtures with stems."""
    conf = MINI / "code_matching/conf"
    for kind in ("transcripts", "stems"):
        pairs = here / f"pairs_{kind}"
        stage(
            "code_matching.pairs", "make_pairs", "--config", f"{conf / f'{kind}.yaml'}",
            "--cuts", f"[{here / 'cuts'},{here / 'stems'}]", "--max_skipped", "0.5",
            "--output", f"{pairs}",
        )  # fmt: skip
        stage(
            "code_matching.pretrain", "code_matching", "--config", f"{conf / 'codes.yaml'}",
            "--config", f"{conf / f'{kind}_encoders.yaml'}", "--batch_size", "8", *STEPS,
            "--where", "{}", "--pairs", f"{pairs}", "--output", f"{here / f'code_matching_{kind}'}",
        )  # fmt: skip


def losses(here: Path) -> dict[str, list[float]]:
    """Train everything in a folder, and read what was recorded."""
    torch.set_num_threads(1)
    for work in (prepare, views, spear, code_matching):
        work(here)
    return {
        path.parent.name: [json.loads(line)["loss"] for line in path.read_text().splitlines()]
        for path in sorted(here.glob("*/metrics.jsonl"))
    }


def import_module_from(path: Path):
    """Import a script that is in no package."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def difference(found: list[float], expected: list[float]) -> float:
    """Largest relative difference of two runs."""
    if len(found) != len(expected):
        return float("inf")
    return max(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True))


def alike(name: str, found: list[float], expected: list[float]) -> bool:
    """Whether two runs differ by no more than rounding."""
    later = LOOSER.get(name, LATER)
    return difference(found[:1], expected[:1]) < FIRST and difference(found, expected) < later


def main() -> int:
    """Print, compare or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail above what rounding makes")
    parser.add_argument("--exact", action="store_true", help="fail where a last digit differs")
    parser.add_argument("--write", action="store_true", help="write the golden file")
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="another file of losses")
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = losses(arguments.folder or Path(temporary))
    if arguments.write:
        arguments.golden.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(arguments.golden.read_text())
    pairs = {n: (found.get(n, []), golden.get(n, [])) for n in sorted({*found, *golden})}
    for name, pair in pairs.items():
        apart = difference(*pair)
        print(f"{name}: {f'differs by {apart:.1e}' if apart else 'same'} {pair[0]}")
    if arguments.exact:
        return int(found != golden)
    return int(arguments.check and not all(alike(n, *pair) for n, pair in pairs.items()))


if __name__ == "__main__":
    sys.exit(main())
