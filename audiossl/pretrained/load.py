"""`load_encoder`: any public encoder in one line, named by a folder or by `kind:path`."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from torch import nn

from audiossl.errors import UserError, did_you_mean

SCHEMES: dict[str, str] = {
    "audiossl": "audiossl.pretrained.own:load",
    "random": "audiossl.pretrained.own:load_random",
    "code_matching": "audiossl.pretrained.code_matching:load",
    "hf": "audiossl.teachers.huggingface:load",
    "torchaudio": "audiossl.teachers.torchaudio_bundle:load",
    "dasheng": "audiossl.teachers.dasheng:load",
    "ge2e": "audiossl.teachers.ge2e:load",
    "aisfx": "audiossl.teachers.aisfx:load",
    "pocketsphinx": "audiossl.teachers.pocketsphinx:load",
    "log_mel": "audiossl.teachers.spectral:load_log_mel",
    "mfcc": "audiossl.teachers.spectral:load_mfcc",
    "shuffled": "audiossl.pretrained.baselines:load_shuffled",
    "log-mel": "audiossl.pretrained.baselines:load_log_mel",
    "python": "audiossl.pretrained.python:load",
    "spear": "audiossl.pretrained.spear:load",
}
"""`kind` -> module:function that takes what follows the colon and returns an Encoder."""


def load_encoder(source: str | Path) -> nn.Module:
    """Load an encoder, frozen and in evaluation mode.

    Args:
        source: A folder or run of this package ("exp/pretrain"), or `kind:path`, where kind is one
            of `SCHEMES` ("spear:<folder|file>", "hf:<folder>", ...).

    Returns:
        A module that keeps to the `Encoder` protocol: `encoder(waveforms, lengths) -> Frames`.

    Raises:
        UserError: The kind is unknown, or nothing that can be loaded lies at the path.
    """
    kind, separator, place = str(source).partition(":")
    if not separator or Path(source).exists():
        kind, place = "audiossl", str(source)
    if kind not in SCHEMES:
        raise UserError(
            f"{source}: unknown kind of encoder {kind!r}{did_you_mean(kind, SCHEMES)} "
            f"(known: {', '.join(SCHEMES)}, or a folder of this package)"
        )
    module, _, name = SCHEMES[kind].partition(":")
    load: Callable[[str], nn.Module] = getattr(import_module(module), name)
    return load(place).eval().requires_grad_(False)
