"""The card beside an export: what it is, how it is used, and how far it is from the encoder."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from audiossl.atomic_files import write_text
from audiossl.models.encoder import presentation_of
from audiossl.pretrained.certificate import Difference, certificate
from audiossl.pretrained.exports.forms import FORMS, Export
from audiossl.pretrained.sources import parse_source, split_sources

FILE = "README.md"


def write_card(place: Path, form: str, export: Export, differences: list[Difference]) -> None:
    """Write the card of an export, and behind it the encoder's own, where it has one."""
    parts = [
        "---",
        f"library_name: {'transformers' if form == 'hf' else 'audiossl'}",
        "pipeline_tag: feature-extraction\ntags: [audio]\n---\n",
        f"# {export.output.name}\n",
        *_facts(export),
        f"## How to use it\n{_use(form, export)}",
        "## How far it is from the encoder\n\nLargest absolute differences over valid frames, of "
        "fixed signals of several durations in batches\nof two, on a CPU, when it was written:\n",
        _indented(certificate(differences)) + "\n",
        *_own_card(export.source),
    ]
    write_text(place / FILE, "\n".join(parts))


def _facts(export: Export) -> list[str]:
    encoder, shown = export.encoder, presentation_of(export.encoder)
    parameters = sum(tensor.numel() for tensor in encoder.parameters())
    whole = shown.window_samples is None
    return [
        f"* **Encoder**: `{export.source}`, a {type(encoder).__name__} of {parameters} parameters.",
        f"* **Input**: mono, {encoder.sample_rate} Hz, in [-1, 1]. "
        f"**Frames**: {encoder.dim} values at {encoder.frame_rate:g} Hz.",
        f"* **Layer**: {encoder.layer_convention}.",
        "* **Presentation in pretraining**: "
        + ("whole clips." if whole else f"windows of {shown.window_samples} samples; a clip's "
           "vector is the mean over them."),
        "",
    ]  # fmt: skip


def _use(form: str, export: Export) -> str:
    if form not in FORMS:
        return f"\nForm `{form}`.\n"
    use: Any = import_module(FORMS[form].write.partition(":")[0]).USE
    return str(use).replace("RATE", str(export.encoder.sample_rate))


def _own_card(source: str) -> list[str]:
    """Read the encoder's own card, its titles a level lower and without a front matter."""
    parts = split_sources(source)
    path = Path(parse_source(parts[0]).place) / FILE
    if len(parts) > 1 or not path.is_file():
        return []
    text = re.sub(r"\A---\n.*?\n---\n", "", path.read_text("utf-8"), flags=re.DOTALL)
    return ["## Card of the encoder\n", re.sub(r"^#", "##", text, flags=re.MULTILINE)]


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
