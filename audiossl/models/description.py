"""An encoder as plain content: the config it was built from, and how clips are presented to it."""

from collections.abc import Mapping
from typing import Any

from audiossl.audio.presentation import Presentation
from audiossl.configs import from_plain, plain
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.models.efficientnet import EfficientNet
from audiossl.models.encoder import FeatureEncoder, presentation_of

FILE = "encoder.json"
"""Where a run describes the encoder that it trains, from its first step on."""


def described(encoder: FeatureEncoder) -> dict[str, Any]:
    """Describe an encoder, all but its weights.

    Example:
        >>> from audiossl.models.log_mel_statistics import LogMelStatistics
        >>> sorted(described(LogMelStatistics()))
        ['encoder', 'presentation']
    """
    return {
        "encoder": plain(encoder.user_config or encoder.config),
        "presentation": plain(presentation_of(encoder)),
    }


def build_described(content: Mapping[str, Any], source: str) -> FeatureEncoder:
    """Build the untrained encoder of a description.

    Args:
        content: What `described` gave. Without a presentation, which was not always written,
            EfficientNets are presented with padded windows of a second, as in all recipes then, and
            all others with whole clips.
        source: Where it is from, for messages.

    Raises:
        UserError: A setting is unknown or of another type.
    """
    config: EncoderConfig = from_plain(EncoderConfig, content["encoder"], source)
    encoder = build_encoder(config)
    presentation = content.get("presentation") or _unwritten_presentation(encoder)
    encoder.presentation = from_plain(Presentation, presentation, source)
    return encoder


def _unwritten_presentation(encoder: FeatureEncoder) -> dict[str, Any]:
    rate = encoder.sample_rate
    if not isinstance(encoder, EfficientNet):
        return {"sample_rate": rate}
    return {"sample_rate": rate, "window_samples": rate, "level": encoder.config.level}
