"""Commands and Python blocks that documents show, and the small world that these assume."""

import re
import shlex
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from transformers import WavLMConfig, WavLMModel

from audiossl.cli import main
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.model import Zipformer
from audiossl.pretrained import spear
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.units import QUANTIZER, describe_frames
from audiossl.quantization.kmeans import KMeansQuantizer
from audiossl.quantization.storage import write_quantizer
from audiossl.separation.demucs_weights import write_network
from tests.contracts import ARCHIVE
from tests.data.corpora import RATE, encode, tone, write_folder
from tests.experiment import TASKS, Experiment
from tests.separation.networks import small_htdemucs
from tests.teachers.tiny import SIZES, save

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "recipes/**/*.md", "egs/**/*.md")
    for path in ROOT.glob(pattern)
    if not {"exp", "download"} & set(path.parts)
)
PROGRAMS = ("audiossl ", "python ", "make ", "torchrun ", "egs/", "recipes/", "pip ")
"""How a line begins that is a command, in a block of shell or indented by four spaces."""
SPEAR = "models/spear-base-speech-audio-v2"
MEANINGS = {
    "spear:<folder|file>": f"spear:{SPEAR}",
    "egs/<corpus>/<method>/": "egs/mini/cola/",
    "<recipe>.<stage>": "cola.pretrain",
}
"""What placeholders stand for here."""


@dataclass(frozen=True)
class Block:
    """A part of a document that is run."""

    document: str
    line: int
    content: str


def commands(document: str) -> list[Block]:
    """List the commands of a document: lines that continue are joined, comments left out."""
    found, language, pending = [], "", ""
    for number, line in enumerate((ROOT / document).read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            language = "" if language else line.removeprefix("```").strip() or "text"
            continue
        shown = language == "sh" or (not language and line.startswith("    "))
        text = f"{pending}{line.strip()}" if shown else ""
        pending = ""
        if text.endswith("\\"):
            pending = text[:-1]
        elif text.startswith(PROGRAMS) and not text.endswith("/"):
            found.append(Block(document, number, text))
    return found


def python_blocks(document: str) -> list[Block]:
    """List the blocks of Python that are no files of a user's own, which have their own tests."""
    text = (ROOT / document).read_text("utf-8")
    matches = re.finditer(
        r"^```python\n(?!# [\w.]+\.py\n)(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    return [Block(document, text[: m.start()].count("\n") + 1, m[1]) for m in matches]


def words_of(command: str) -> list[str]:
    """Split a command as a shell does, with placeholders replaced and comments taken off."""
    for placeholder, meaning in MEANINGS.items():
        command = command.replace(placeholder, meaning)
    # Only behind a space does # begin a comment.
    words = shlex.split(re.sub(r"\s#.*$", "", command))
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    return [str(Path(word).expanduser()) if word.startswith("~") else word for word in words]


def make_world(folder: Path, experiment: Experiment) -> None:
    """Make what documents name: corpora, runs, checkpoints of others, sounds."""
    for name in ("cuts", "stems", "cola_0", "cola_1", "source_0"):
        shutil.copytree(experiment.folder / name, folder / "exp" / name)
    shutil.copytree(experiment.cola_1, folder / "exp/other")
    weights = folder / "weights/htdemucs"
    weights.mkdir(parents=True)
    write_network(weights / "955717e8.safetensors", small_htdemucs())
    encode(folder / "exp/cuts", folder / "exp/speech/codes", "speech")
    encode(folder / "exp/cuts", folder / "exp/audio/codes", "audio")
    (folder / "tasks.yaml").write_text(f"tasks: {TASKS}\n")
    write_folder(folder / "music", [1.2, 1.1, 1.3, 1.0, 1.1, 1.2])
    soundfile.write(folder / "x.mp3", tone(1.0, 440.0), RATE)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder / "old", filter="data")
    shutil.copytree(folder / "old/code_matching", folder / "exp/codes")
    for corpus in ("libri", "audioset", "noise"):
        shutil.copytree(folder / "old/cuts", folder / "exp" / corpus)
    encode(folder / "exp/libri", folder / "exp/libri_codes", "speech")
    encode(folder / "exp/audioset", folder / "exp/as_speech", "speech")
    encode(folder / "exp/audioset", folder / "exp/as_audio", "audio", rate=25.0, books=2)
    (folder / "exp/quantizer").mkdir()
    describe_frames(folder / "exp/quantizer", "log_mel:8", load_encoder("log_mel:8"))
    entries = KMeansQuantizer.from_entries(torch.randn(4, 8))
    write_quantizer(folder / "exp/quantizer" / QUANTIZER, entries)
    layers = {**SIZES, "num_hidden_layers": 24}
    for name in ("wavlm-large", "wavlm-base"):
        (folder / "models" / name).mkdir(parents=True)
        save(WavLMModel(WavLMConfig(**layers)), folder / "models" / name)
    tiny = ZipformerConfig(
        dim=16, feed_forward_dim=32, num_layers=(1, 1), strides=(1, 2), kernel_sizes=(7, 7),
        num_heads=2, query_dim=4, position_dim=8, value_dim=4, unmasked_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    zipformer = Zipformer(tiny)
    checkpoint = spear.SpearCheckpoint(zipformer.config, zipformer.state_dict(), {})
    spear.write_hugging_face(folder / SPEAR, checkpoint)
    assert main(["import", f"spear:{folder / SPEAR}", f"{folder / 'exp/pretrain'}"]) == 0


def names() -> dict[str, object]:
    """Return what blocks of Python assume to be there."""
    return {
        "waveforms": torch.randn(3, 32_000) * 0.1,
        "lengths": torch.tensor([32_000, 20_000, 28_000]),
        "cut_ids": ["a", "b", "c"],
        "frame_array": np.random.default_rng(0).normal(size=(4000, 32)).astype(np.float32),
        "path": Path("exp/quantizer.safetensors"),
        "paths": ["music/000.wav", "music/001.wav"],
    }
