"""The forms in which an encoder leaves this package: `audiossl export <encoder> OUTPUT --to FORM`.

A form is one file with a function `write(place, export)`: it writes the form, reads it back as its
consumer does, and returns how far what comes out is from the encoder. A new form is such a file and
a row of `FORMS`, or `--to python:module:write` for somebody's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from audiossl.digests import digest_of_bytes
from audiossl.errors import UserError, did_you_mean
from audiossl.installation import missing_package
from audiossl.nn.digests import digest_of_tensors
from audiossl.pretrained.certificate import Difference
from audiossl.python_objects import is_python, python_object


@dataclass(frozen=True)
class Export:
    """What goes out."""

    source: str
    """Name of the encoder, as `load_encoder` takes it."""
    encoder: Any
    """The loaded encoder."""
    dtype: torch.dtype | None = None
    """Type of the weights; None: as they are."""
    clips: tuple[str, ...] = ()
    """Audio whose features are written."""
    output: Path = Path()
    """Place of the form, once it is whole."""

    @property
    def digest(self) -> str:
        """Tell encoders apart by their weights; those without weights by what they are."""
        encoder = self.encoder
        what = f"{type(encoder).__name__} {encoder.dim} {encoder.layer_convention}"
        weights = digest_of_tensors(encoder.state_dict())
        return digest_of_bytes([what.encode(), weights.encode()])[:8]


Write = Callable[[Path, Export], list[Difference]]


@dataclass(frozen=True)
class Form:
    """One form."""

    write: str
    """Module and function, as in "module:function"."""
    help: str
    """Line that says what it is."""
    extra: str = ""
    """Group of optional dependencies that writing it needs; empty: none."""
    dtypes: bool = False
    """Whether weights can be of another type."""


_HERE = "audiossl.pretrained.exports"
FORMS: dict[str, Form] = {
    "spear": Form(f"{_HERE}.spear:write", "a Zipformer as SPEAR's public checkpoints", dtypes=True),
    "hf": Form(
        f"{_HERE}.hugging_face:write",
        "folder for transformers' AutoModel, with its own code",
        extra="teachers",
    ),
    "onnx": Form(f"{_HERE}.onnx_graph:write", "ONNX from waveforms, and with int8 weights", "onnx"),
    "torch": Form(f"{_HERE}.torch_program:write", "torch.export program, which needs torch alone"),
    "s3prl": Form(f"{_HERE}.s3prl:write", "upstream of s3prl (SUPERB)"),
    "hear": Form(f"{_HERE}.hear:write", "module for HEAR 2021"),
    "xares": Form(f"{_HERE}.xares:write", "encoder files for X-ARES and XARES-LLM"),
    "mteb": Form(f"{_HERE}.mteb:write", "model for MTEB's audio tasks (MAEB)"),
    "marble": Form(f"{_HERE}.marble:write", "encoder for MARBLE (music)"),
    "features": Form(f"{_HERE}.features:write", "frames of clips as archives of Kaldi and lhotse"),
}
"""Every form, in the order in which messages list them."""


def writer_of(form: str, export: Export) -> Write:
    """Find the function that writes a form.

    Raises:
        UserError: There is no such form, its packages are missing, or it does not do what is asked.
    """
    if is_python(form):
        return python_object(form.partition(":")[2])
    if form not in FORMS:
        raise UserError(
            f"--to {form}: unknown form{did_you_mean(form, FORMS)} (known: {', '.join(FORMS)}, or "
            "python:module:function)"
        )
    row = FORMS[form]
    if export.dtype is not None and not row.dtypes:
        able = ", ".join(name for name, other in FORMS.items() if other.dtypes)
        raise UserError(
            f"--dtype: {form} has the weights as they are; leave it out, or --to {able}"
        )
    if bool(export.clips) != (form == "features"):
        raise UserError(
            "--to features: name the audio with --clips"
            if form == "features"
            else f"--clips: {form} has no features of clips; leave it out, or --to features"
        )
    module, _, function = row.write.partition(":")
    try:
        return getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if not row.extra or str(error.name).startswith("audiossl"):
            raise
        raise UserError(missing_package(f"--to {form}", error.name, row.extra)) from error


def check_frames(export: Export, form: str) -> None:
    """Refuse encoders of clip vectors alone where a consumer takes frames.

    Raises:
        UserError: The encoder has no frames.
    """
    if not export.encoder.frame_rate > 0:
        raise UserError(f"{export.source}: has clip vectors alone, and {form} takes frames")


def check_rate(export: Export, form: str, rates: tuple[int, ...]) -> None:
    """Refuse encoders of sample rates that a consumer does not know.

    Raises:
        UserError: The sample rate is another one.
    """
    if export.encoder.sample_rate not in rates:
        raise UserError(
            f"{export.source}: takes waveforms at {export.encoder.sample_rate} Hz, and {form} "
            f"gives them at {' or '.join(map(str, rates))} Hz"
        )


def layers_of(frames: Any) -> list[torch.Tensor]:
    """List layers that can be stacked: all, where they are of one shape, or the output alone."""
    shapes = {layer.shape for layer in frames.layers}
    return list(frames.layers) if len(shapes) == 1 else [frames.vectors]


def device_of(module: nn.Module) -> torch.device:
    """Find the device that a module is on; one without parameters is on the CPU."""
    return next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
