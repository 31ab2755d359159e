"""From a config to the untrained encoder that it describes."""

from typing import TypeAlias

from typing_extensions import assert_never

from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from audiossl.models.encoder import FeatureEncoder

EncoderConfig: TypeAlias = EfficientNetConfig


def build_encoder(config: EncoderConfig) -> FeatureEncoder:
    """Make the untrained network that `config` describes."""
    match config:
        case EfficientNetConfig():
            return EfficientNet(config)
        case _:
            assert_never(config)
