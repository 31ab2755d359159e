"""`load_teacher`: any teacher in one line, named by `kind:path` or `kind:path#layer`."""

import re
from collections.abc import Callable
from importlib import import_module

from audiossl.errors import UserError, did_you_mean
from audiossl.teachers.teacher import FrozenTeacher

SCHEMES: dict[str, str] = {
    "hf": "audiossl.teachers.huggingface:load_teacher",
    "torchaudio": "audiossl.teachers.torchaudio_bundle:load",
    "dasheng": "audiossl.teachers.dasheng:load",
    "ge2e": "audiossl.teachers.ge2e:load",
    "aisfx": "audiossl.teachers.aisfx:load",
    "pocketsphinx": "audiossl.teachers.pocketsphinx:load",
    "log_mel": "audiossl.teachers.spectral:load_log_mel",
    "mfcc": "audiossl.teachers.spectral:load_mfcc",
}
"""`kind` -> module:function that takes what follows the colon, and the layer if it is `LAYERED`."""
LAYERED = ("hf", "torchaudio", "dasheng")
"""Kinds of which a layer can be chosen."""


def load_teacher(source: str) -> FrozenTeacher:
    """Load a teacher, frozen and in evaluation mode.

    An encoder of this package is a teacher too, but lives above this room: load it with
    `audiossl.load_encoder`, which knows all kinds of `SCHEMES` as encoders.

    Args:
        source: `kind:path`, where kind is one of `SCHEMES` ("hf:<folder>", "dasheng:<file>",
            "log_mel:", "ge2e:"); with `#layer` behind it the output of that layer, counted from 1
            ("hf:<folder>#21"). Several sources joined by `+` are an ensemble ("hf:<folder>+ge2e:").

    Returns:
        A module that keeps to the `Teacher` protocol: `teacher(waveforms, lengths) -> Frames`.

    Raises:
        UserError: The kind is unknown, its package is not installed, or nothing that can be loaded
            lies at the path.
    """
    sources = re.split(rf"\+(?=(?:{'|'.join(SCHEMES)}):)", source)
    teachers = [_load(part) for part in sources]
    if len(teachers) == 1:
        return teachers[0]
    return _function("audiossl.teachers.ensemble:EnsembleTeacher", source)(teachers)


def _load(source: str) -> FrozenTeacher:
    kind, separator, place = source.partition(":")
    if not separator or kind not in SCHEMES:
        raise UserError(
            f"{source}: unknown kind of teacher {kind!r}{did_you_mean(kind, SCHEMES)} "
            f"(known: {', '.join(f'{known}:' for known in SCHEMES)}; an encoder of this package is "
            "loaded by load_encoder)"
        )
    load = _function(SCHEMES[kind], source)
    path, _, layer = place.rpartition("#")
    if not path or not layer.isdecimal():
        return load(place)
    if kind not in LAYERED:
        raise UserError(
            f"{source}: {kind} teachers have no layers to choose from; leave #{layer} out"
        )
    return load(path, int(layer))


def _function(name: str, source: str) -> Callable[..., FrozenTeacher]:
    module, _, function = name.partition(":")
    try:
        return getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("audiossl"):
            raise
        raise UserError(
            f"{source}: needs {error.name}: install it with: python -m pip install "
            "'audiossl[teachers]'"
        ) from error
