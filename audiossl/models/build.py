"""From a config to the untrained encoder that it describes."""

from typing import TypeAlias

from torch import nn

from audiossl.errors import UserError
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from audiossl.models.encoder import FeatureEncoder
from audiossl.models.layered import Layered, LayeredConfig
from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig
from audiossl.models.projected import Projected, ProjectedConfig
from audiossl.models.wav2vec2 import LOADED_BY, Wav2Vec2Config
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.model import Zipformer
from audiossl.python_objects import NameOnly, UserDefined, python_object

EncoderConfig: TypeAlias = (
    EfficientNetConfig
    | ZipformerConfig
    | PatchTransformerConfig
    | ProjectedConfig
    | LayeredConfig
    | Wav2Vec2Config
    | UserDefined
)
"""Every encoder that any method can train; `python:module:Class` is a user's own."""


def build_encoder(config: EncoderConfig) -> FeatureEncoder:
    """Make the untrained network that `config` describes.

    Raises:
        UserError: A user's class is not found, or is not what methods can train.

    Example:
        >>> import torch
        >>> encoder = build_encoder(PatchTransformerConfig(layers=1)).eval()
        >>> encoder(torch.zeros(1, 16000), torch.tensor([16000])).clip.shape
        torch.Size([1, 192])
    """
    match config:
        case EfficientNetConfig():
            return EfficientNet(config)
        case ZipformerConfig():
            return Zipformer(config)
        case PatchTransformerConfig():
            return PatchTransformer(config)
        case ProjectedConfig():
            return Projected(config)
        case LayeredConfig():
            return Layered(config)
        case Wav2Vec2Config():
            encoder: FeatureEncoder = python_object(LOADED_BY)(config)
            return encoder
        case _:
            return _user_encoder(config)


def _user_encoder(config: UserDefined) -> FeatureEncoder:
    """Make a user's own: `Class(config)` if it has a `Config`, `Class()` otherwise."""
    kind = config.kind
    encoder_class = python_object(kind)
    if not (isinstance(encoder_class, type) and issubclass(encoder_class, nn.Module)):
        raise UserError(f"{kind}: is no class of a torch module")
    encoder = encoder_class() if isinstance(config, NameOnly) else encoder_class(config)
    names = ("sample_rate", "frame_rate", "dim", "num_bins", "features", "encode_features")
    if lacking := [name for name in names if not hasattr(encoder, name)]:
        raise UserError(
            f"{kind}: methods cannot train it, it lacks {', '.join(lacking)}: derive it from "
            "audiossl.models.encoder.FeatureEncoder, which says what these are"
        )
    encoder.user_config = config  # type: ignore[assignment]
    return encoder  # type: ignore[return-value]
