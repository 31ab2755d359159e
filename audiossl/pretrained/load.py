"""`load_encoder`: any encoder in one line, for every use."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from audiossl.errors import UserError
from audiossl.installation import missing_package
from audiossl.pretrained.hub import local_copy
from audiossl.pretrained.inputs import with_any_input
from audiossl.pretrained.sources import SCHEMES, Source, parse_source, split_sources


def load_encoder(source: str | Path) -> nn.Module:
    """Load an encoder, frozen and in evaluation mode.

    >>> encoder = load_encoder("log_mel:40")
    >>> encoder.sample_rate, encoder.frame_rate, encoder.dim
    (16000, 50.0, 40)
    >>> import numpy as np
    >>> frames = encoder(np.zeros(8000), sample_rate=8000)
    >>> frames.vectors.shape, frames.lengths
    (torch.Size([1, 49, 40]), tensor([49]))

    Args:
        source: A folder of this package ("exp/pretrain"), or `kind:place`, where kind is one of
            `audiossl.pretrained.sources.SCHEMES` ("spear:<folder|file>", "hf:<folder>", ...). For
            kinds of the Hugging Face hub the place may be "org/name@revision", which downloads what
            is not in the hub's cache, or "org/name", which downloads nothing.
            `#layer` behind it makes the output of that layer, counted from 1, the encoder's output
            ("hf:<folder>#21"). Several joined by `+` are one encoder, their frames side by side
            ("aisfx:+log_mel:40").

    Returns:
        A module that keeps to the `Encoder` protocol: `encoder(waveforms, lengths) -> Frames`. It
        also takes a NumPy array, one waveform without a batch, no lengths, and `sample_rate=` of
        what is given. Its `layer_convention` says at which point of the network the output is
        taken.

    Raises:
        UserError: The kind is unknown, its package is not installed, or nothing that can be loaded
            lies at the place.
    """
    encoders = [_load(parse_source(part), part) for part in split_sources(source)]
    if len(encoders) == 1:
        return encoders[0]
    from audiossl.pretrained.ensemble import Ensemble

    return with_any_input(Ensemble(encoders))


def _load(source: Source, name: str) -> Any:
    scheme = SCHEMES[source.kind]
    module, _, function = scheme.load.partition(":")
    try:
        load: Callable[..., Any] = getattr(import_module(module), function)
    except ModuleNotFoundError as error:
        if not scheme.extra or str(error.name).startswith("audiossl"):
            raise
        raise UserError(missing_package(name, error.name, scheme.extra)) from error
    place = local_copy(source.place, name) if scheme.hub else source.place
    if source.layer is None or scheme.truncates:
        arguments = (place,) if source.layer is None else (place, source.layer)
        encoder = load(*arguments, **source.options)
    else:
        from audiossl.pretrained.layer import LayerOf

        encoder = LayerOf(load(place, **source.options).eval(), source.layer, name)
    if not hasattr(encoder, "layer_convention"):
        encoder.layer_convention = "the encoder's own output"
    return with_any_input(encoder.eval().requires_grad_(False))
