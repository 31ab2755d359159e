"""From a config to the untrained encoder that it describes."""

from typing import TypeAlias

from typing_extensions import assert_never

from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from audiossl.models.encoder import FeatureEncoder
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.model import Zipformer

EncoderConfig: TypeAlias = EfficientNetConfig | ZipformerConfig


def build_encoder(config: EncoderConfig) -> FeatureEncoder:
    """Make the untrained network that `config` describes."""
    match config:
        case EfficientNetConfig():
            return EfficientNet(config)
        case ZipformerConfig():
            return Zipformer(config)
        case _:
            assert_never(config)
