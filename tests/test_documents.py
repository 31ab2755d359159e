"""Every command and every block of Python that a document shows works, on a small world.

Commands of stages and of `audiossl` are run with settings that make them small; those that stand
for a cluster, a placeholder or an hour of work are parsed by what would run them.
"""

import inspect
import re
import shlex
import shutil
import subprocess
from importlib import import_module

import pytest
import torch

from audiossl.cli import main
from audiossl.configs import setting_names
from tests.documents import (
    DOCUMENTS,
    MEANINGS,
    ROOT,
    Block,
    commands,
    make_world,
    names,
    python_blocks,
    words_of,
)
from tests.egs.layouts import environment
from tests.experiment import stage

PARSED = (
    "recipes.probe.sequence", "recipes.probe.verification", "recipes.probe.query_by_example",
    "recipes.finetune",
)  # fmt: skip
"""Stages that run on corpora of their own, with texts and turns, in tests/recipes."""
SMALLER = {
    "recipes.cola.pretrain": [
        "--loop.steps", "2", "--batch_size", "4", "--encoder.width", "0.1",
        "--encoder.depth", "0.1", "--method.projection_dim", "8",
    ],
    "recipes.spear.embed_sample": ["--num_frames", "600"],
    "recipes.spear.train_quantizer": [
        "--quantizer.num_codebooks", "2", "--quantizer.phase_steps", "[2,2]",
    ],
    "recipes.probe.fit": ["--bootstrap.replicates", "20"],
    "recipes.probe.report": ["--batches", "1"],
}  # fmt: skip
"""Settings behind those that a document shows, so that a stage takes seconds."""
CODE = {
    "exp/codes#speech": "exp/codes#mixture",
    '"cuda"': '"cpu"',
    "num_codebooks=16, phase_steps=(35_000, 35_000)": "num_codebooks=2, phase_steps=(2, 2)",
    "start=16_000, num_samples=32_000": "start=1_600, num_samples=3_200",
    "duration=2.0": "duration=0.2",
    "batch_duration=4800.0, multiple=8": "batch_duration=8.0, num_buckets=1",
    "batch=7), rank=3, world_size=8": "batch=0), rank=0, world_size=1",
    "min_duration=0.9": "min_duration=0.1",
    '"egs/mini/data/sounds"': '"egs/mini/data/sounds/crash"',
}
"""What blocks of Python name, and what it is here."""


@pytest.fixture(scope="session")
def small_world(tmp_path_factory, experiment):
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, experiment)
    return folder


@pytest.fixture
def world(small_world, tmp_path, monkeypatch):
    shutil.copytree(small_world, tmp_path / "world")
    for name in ("recipes", "egs", "tests", "Makefile"):
        (tmp_path / "world" / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path / "world")
    monkeypatch.setenv("HOME", str(tmp_path / "world"))
    return tmp_path / "world"


def smaller(name: str, words: list[str]) -> list[str]:
    """Settings that make a stage small; an encoder that goes on from weights keeps its size."""
    settings = SMALLER.get(name, [])
    if "--initial_weights" not in words:
        return settings
    pairs = zip(settings[::2], settings[1::2], strict=True)
    return [word for pair in pairs if not pair[0].startswith("--encoder") for word in pair]


def run_stage(name: str, words: list[str]) -> None:
    """Run a stage as `python -m` would, in this process; what the world has there gives way."""
    shutil.rmtree(words[words.index("--output") + 1], ignore_errors=True)
    module = import_module(name)
    work = re.search(r"^    main\(Config, (\w+),", inspect.getsource(module), re.MULTILINE)
    stage(module, getattr(module, work[1]), *words)


def parse_stage(name: str, words: list[str]) -> None:
    """Check that a stage exists and that its settings do, without running it."""
    shown = [word[2:] for word in words if word.startswith("--")]
    known = {"config", *setting_names(import_module(name).Config)}
    assert set(shown) <= known, f"{name} has no {set(shown) - known}"


def run_script(path: str, words: list[str]) -> None:
    """Check a script's options; print what it would run where it can say so."""
    script = ROOT / path
    text = script.read_text("utf-8")
    options = [word[2:].replace("-", "_") for word in words if word.startswith("--")]
    for option in options:
        assert re.search(rf"^{option}=", text, re.MULTILINE), f"{path} has no --{option}"
    if re.search(r"^dry_run=", text, re.MULTILINE):
        asked = words if "--dry-run" in words else [*words, "--dry-run"]
        done = subprocess.run(
            ["bash", script, *asked], env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]


def run_module(block: Block, words: list[str], *, parse_only: bool) -> None:
    """Run, or parse, what stands behind `python -m`."""
    name, settings = words[0], words[1:]
    if name == "pytest":
        paths = [word for word in settings if word.startswith("tests/")]
        assert paths
        assert all((ROOT / path).exists() for path in paths)
    elif not name.startswith("recipes.") or name.startswith("recipes.benchmark."):
        import_module(name)
    elif "[--" in block.content or "--help" in settings:
        assert import_module(name).Config
    elif parse_only or name in PARSED or "..." in settings or block.document.endswith("RESULTS.md"):
        parse_stage(name, settings)
    else:
        run_stage(name, [*settings, *smaller(name, settings)])


def run_command(block: Block) -> None:
    """Run, or parse, one command of a document."""
    program, *words = words_of(block.content)
    if program in ("python", "torchrun"):
        run_module(block, words[words.index("-m") + 1 :], parse_only=program == "torchrun")
    elif program == "audiossl":
        assert main(words) == 0
    elif program.endswith(".sh"):
        run_script(program, words)
    elif program == "make":
        targets = (ROOT / "Makefile").read_text("utf-8")
        assert re.search(rf"^{words[0]}:", targets, re.MULTILINE)
    else:
        assert program == "pip", f"{block.document}:{block.line}: what runs {shlex.join(words)}?"


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if commands(name)])
def test_commands(document, world):
    for block in commands(document):
        try:
            run_command(block)
        except BaseException as error:
            error.add_note(f"{block.document}:{block.line}: {block.content}")
            raise


# lhotse leaves the shards open that it has read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("document", [name for name in DOCUMENTS if python_blocks(name)])
def test_python(document, world):
    torch.manual_seed(0)
    known = names()
    for block in python_blocks(document):
        content = block.content
        for shown, meant in {**CODE, **MEANINGS}.items():
            content = content.replace(shown, meant)
        code = compile(content, f"{document}:{block.line}", "exec")
        exec(code, known)
    if document == "README.md":
        assert known["frames"].vectors.shape[0] == 2
        assert known["vectors"].shape == (11, 1392)
