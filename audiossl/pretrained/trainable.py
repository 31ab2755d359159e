"""Encoders that methods and fine-tuning train: those of this package, and wav2vec 2.0's relatives.

What methods mask and change of the latter is the output of their convolutions, which is what their
authors mask. Their own dropout stays off, as in frozen teachers; convolutions are trained, too,
unless the learning rate of `encoder.network.feature_extractor` says otherwise.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.atomic_files import reading
from audiossl.data.layout import SAMPLE_RATE
from audiossl.errors import UserError
from audiossl.installation import missing_package
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.models.wav2vec2 import Wav2Vec2Config
from audiossl.nn.frames import Frames
from audiossl.pretrained.load import load_encoder

_TEACHERS = {
    "config": ("audiossl.teachers.huggingface", "teachers", "Wav2Vec2Teacher"),
    "parameters": ("audiossl.teachers.torchaudio_bundle", "", "TorchaudioTeacher"),
}
"""Module, extra and class, by the key that an architecture of its library has."""


class Wav2Vec2(FeatureEncoder):
    """A network of another library, as an encoder that any method can train."""

    learns_features = True

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        architecture = config.architecture or _architecture_of(config.source)
        self.config = replace(config, source="", architecture=architecture)
        self.network: Any = _built(architecture)
        self.requires_grad_(True)
        if self.network.sample_rate != SAMPLE_RATE:
            raise UserError(
                f"encoder wav2vec2: is of {self.network.sample_rate} Hz, and recipes train at "
                f"{SAMPLE_RATE}: it can be frozen, not trained"
            )
        self.sample_rate, self.frame_rate = self.network.sample_rate, self.network.frame_rate
        self.dim = self.num_bins = self.network.dim
        self.feature_rate = self.frame_rate

    def unread_parameters(self) -> Iterator[nn.Parameter]:
        """List the vector of masked frames, which has no use here."""
        for name, parameter in self.named_parameters():
            if name.endswith("masked_spec_embed"):
                yield parameter

    def features(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch frames bins"], Int[Tensor, " batch"]]:
        """Compute the output of the convolutions, projected to the width of the Transformer."""
        return self.network.features(waveforms, lengths)

    def encode_features(
        self,
        features: Float[Tensor, "batch frames bins"],
        feature_lengths: Int[Tensor, " batch"],
        context: Context | None = None,  # noqa: ARG002 - it does not change while it trains
    ) -> Frames:
        """Run the Transformer."""
        return self.network.encode_features(features, feature_lengths)


def trainable(encoder: nn.Module, source: str) -> FeatureEncoder:
    """Make an encoder trainable.

    Args:
        encoder: As `load_encoder` gives it.
        source: Its name.

    Raises:
        UserError: It is of a kind that is not trained here.
    """
    if isinstance(encoder, FeatureEncoder) and any(True for _ in encoder.parameters()):
        return encoder
    if not hasattr(encoder, "architecture"):
        raise UserError(
            f"{source}: cannot be fine-tuned or trained further: give a network of this package or "
            "a wav2vec 2.0, HuBERT, WavLM or data2vec of transformers (hf:) or torchaudio:"
        )
    made = Wav2Vec2(Wav2Vec2Config(architecture=_written(encoder)))
    made.network.load_state_dict(encoder.state_dict())
    return made


def trainable_encoder(source: str) -> FeatureEncoder:
    """Load an encoder to be trained on.

    Raises:
        UserError: It is of a kind that is not trained here.
    """
    return trainable(load_encoder(source), source).requires_grad_(True).train()


def _architecture_of(source: str) -> str:
    encoder = load_encoder(source)
    if not hasattr(encoder, "architecture"):
        raise UserError(
            f"encoder.source {source}: is no wav2vec 2.0, HuBERT, WavLM or data2vec of hf: or "
            "torchaudio:; name an encoder of this package by its own encoder.kind"
        )
    return _written(encoder)


def _written(encoder: nn.Module) -> str:
    return json.dumps(encoder.architecture, sort_keys=True)


def _built(architecture: str) -> Any:
    place = Path("encoder.architecture")
    with reading(place, "architecture of a wav2vec2 encoder"):
        content: Mapping[str, Any] = json.loads(architecture)
        (known,) = [found for key, found in _TEACHERS.items() if key in content]
        module, extra, name = known
    try:
        teacher = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise UserError(missing_package("encoder wav2vec2", error.name, extra)) from error
    with reading(place, "architecture of a wav2vec2 encoder"):
        return teacher.of_architecture(content)
