"""Which encoder made something: a hash of all that its frames depend on."""

from torch import nn

from audiossl.digests import digest_of_json
from audiossl.models.encoder import Encoder
from audiossl.nn.digests import digest_of_tensors


def encoder_identity(encoder: nn.Module) -> str:
    """Hash an encoder's weights, layer and conventions.

    Returns:
        16 hexadecimal digits.

    >>> from audiossl.pretrained.load import load_encoder
    >>> encoder_identity(load_encoder("log_mel:40")) == encoder_identity(load_encoder("log_mel:41"))
    False
    """
    assert isinstance(encoder, Encoder)
    convention = getattr(encoder, "convention", str(getattr(encoder, "config", "")))
    weights = digest_of_tensors(encoder.state_dict())
    return digest_of_json(
        [type(encoder).__name__, convention, weights, encoder.frame_rate, encoder.dim]
    )
