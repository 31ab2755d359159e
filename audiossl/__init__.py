"""Self-supervised audio and speech representations.

encoder = audiossl.load_encoder("exp/pretrain")
frames = encoder(waveforms, lengths)
vectors = audiossl.embed("clips/", encoder)
print(audiossl.describe("clips/").num_cuts)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiossl.data.description import describe as describe
    from audiossl.models.encoder import Encoder as Encoder
    from audiossl.nn.frames import Frames as Frames
    from audiossl.pretrained.embed import embed as embed
    from audiossl.pretrained.load import load_encoder as load_encoder
    from audiossl.pretrained.units import tokenize as tokenize

__version__ = "0.1.0"

_HOMES = {
    "Encoder": "audiossl.models.encoder",
    "Frames": "audiossl.nn.frames",
    "describe": "audiossl.data.description",
    "embed": "audiossl.pretrained.embed",
    "load_encoder": "audiossl.pretrained.load",
    "tokenize": "audiossl.pretrained.units",
}
__all__ = ["Encoder", "Frames", "describe", "embed", "load_encoder", "tokenize"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import audiossl` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'audiossl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names and nothing else."""
    return sorted(__all__)
