"""Tiny encoders of every kind on disk, and their exports."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from audiossl.cli import main
from audiossl.configs import from_plain, parse_yaml
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.pretrained import own
from tests.contracts import ENCODERS

ROOT = Path(__file__).parents[3]
KINDS = ("efficientnet", "zipformer", "patch_transformer", "layered")


def make_encoders(folder: Path) -> Path:
    """Write one of each kind, whose normalizations have seen some sound."""
    torch.manual_seed(0)
    for kind in KINDS:
        config = from_plain(EncoderConfig, parse_yaml(ENCODERS[kind]), kind)
        encoder = build_encoder(config)
        for _ in range(3):
            encoder(0.1 * torch.randn(4, 16000), torch.full((4,), 16000))
        own.write_encoder(folder / kind, encoder.eval(), {"recipe": "none"})
    return folder


def export(
    source: str | Path, output: Path, form: str, capsys: pytest.CaptureFixture, *words: str
) -> float:
    """Export by the command; returns the largest difference that it certifies."""
    capsys.readouterr()
    code = main(["export", str(source), str(output), "--to", form, *words])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert str(source) in (output / "README.md").read_text("utf-8")
    assert not [path for path in output.rglob("*.part")]
    (difference,) = _certified(printed.out)
    return difference


def export_apart(jobs: list[tuple[str | Path, Path, str]]) -> list[float]:
    """Export by commands in a process of its own, without the checks of shapes in this one.

    They take a number of frames for a whole number, which it is not while a graph is made.
    """
    code = (
        "import json, sys\n"
        "from audiossl.cli import main\n"
        "for source, output, form in json.loads(sys.argv[1]):\n"
        "    assert main(['export', source, output, '--to', form]) == 0\n"
    )
    words = json.dumps([[str(word) for word in job] for job in jobs])
    done = subprocess.run(
        [sys.executable, "-c", code, words],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return _certified(done.stdout)


def _certified(printed: str) -> list[float]:
    found = re.findall(r"^(?:bit-equal|largest difference (\S+))$", printed, re.MULTILINE)
    return [float(number or 0) for number in found]


def module_of(path: Path) -> ModuleType:
    """Import a file, by the name it has, with its folder on the path, as its consumer does."""
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(path.parent))
        for name in ("expert", "hubconf"):
            sys.modules.pop(name, None)
