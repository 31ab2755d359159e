"""How a wav2vec 2.0, HuBERT, WavLM or data2vec of another library is named, to be trained here."""

from dataclasses import dataclass
from typing import Literal

from audiossl.errors import UserError

LOADED_BY = "audiossl.pretrained.trainable:Wav2Vec2"
"""Module and class: other libraries' networks live where encoders are loaded."""


@dataclass(frozen=True, kw_only=True)
class Wav2Vec2Config:
    """A wav2vec 2.0 or one of its relatives, as transformers or torchaudio implements it.

    Example:
        >>> Wav2Vec2Config(source="hf:models/wavlm-base").kind
        'wav2vec2'
    """

    kind: Literal["wav2vec2"] = "wav2vec2"
    source: str = ""
    """Encoder whose architecture this one has, as `load_encoder` takes it: hf:<folder> or
    torchaudio:<file>. Its weights are those of `initial_weights`, random without."""
    architecture: str = ""
    """Architecture as JSON, which replaces `source`; encoders that were trained have it."""

    def __post_init__(self) -> None:
        """Check that there is one of the two.

        Raises:
            UserError: There is none.
        """
        if not (self.source or self.architecture):
            raise UserError(
                "encoder wav2vec2: give encoder.source, the network whose architecture it has, as "
                "in hf:models/wavlm-base"
            )
