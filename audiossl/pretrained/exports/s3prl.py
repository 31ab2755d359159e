"""An upstream of s3prl: `UpstreamExpert` and `hubconf.py`, for SUPERB's downstream models.

Interface: s3prl's `upstream/example`: a list of 16 kHz waveforms to `hidden_states` of one shape.
They are the encoder's layers, or, where these differ in width, its output alone.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiossl.models.encoder import Encoder
from audiossl.pretrained.certificate import Difference, compare_outputs, outputs_of_frames
from audiossl.pretrained.exports.carried import write_beside
from audiossl.pretrained.exports.forms import Export, check_frames, check_rate, layers_of
from audiossl.pretrained.load import load_encoder

USE = """
    import sys
    sys.path.insert(0, "<this folder>")
    import s3prl.hub
    from hubconf import audiossl_local
    s3prl.hub.audiossl_local = audiossl_local

before `s3prl.run_downstream` or `S3PRLUpstream("audiossl_local")`; it needs this package.
"""
EXPERT = '''"""Upstream of s3prl."""

from pathlib import Path

from audiossl import load_encoder
from audiossl.pretrained.exports.s3prl import Upstream


class UpstreamExpert(Upstream):
    def __init__(self, ckpt=None, model_config=None, **options):
        super().__init__(load_encoder(ckpt or SOURCE))
'''
HUBCONF = '''"""What s3prl's hub and torch.hub find here."""

from expert import UpstreamExpert as _UpstreamExpert


def audiossl_local(*arguments, **options):
    return _UpstreamExpert(*arguments, **options)
'''


class Upstream(nn.Module):
    """Waveforms to layers, as s3prl asks for them."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder: Encoder = encoder
        second = torch.zeros(1, encoder.sample_rate)
        with torch.inference_mode():
            frames = encoder(second, torch.tensor([second.shape[1]]))
        layered = frames.layer_rate is not None and len(layers_of(frames)) == len(frames.layers)
        rate = frames.layer_rate if layered else encoder.frame_rate
        self.downsample_rate = round(encoder.sample_rate / rate)

    def get_downsample_rates(self, key: str) -> int:  # noqa: ARG002 - alike for all keys
        """Return samples a frame."""
        return self.downsample_rate

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Encode waveforms (samples,); what stands behind the end of one is padding."""
        waveforms = nn.utils.rnn.pad_sequence(wavs, batch_first=True)
        lengths = torch.tensor([len(wav) for wav in wavs], device=waveforms.device)
        frames = self.encoder(waveforms, lengths)
        return {"hidden_states": layers_of(frames), "last_hidden_state": frames.vectors}


def write(place: Path, export: Export) -> list[Difference]:
    """Write the folder, load the encoder from it and compare.

    Raises:
        UserError: The encoder has no frames, or takes another sample rate.
    """
    check_frames(export, "s3prl")
    check_rate(export, "s3prl", (16000,))
    files = {"expert.py": EXPERT, "hubconf.py": HUBCONF}
    upstream = Upstream(load_encoder(write_beside(place, files, export)))

    def encode(waveforms: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        rows = zip(waveforms, lengths.tolist(), strict=True)
        out = upstream([row[:length] for row, length in rows])
        counts = export.encoder(waveforms, lengths).lengths
        vectors = out["last_hidden_state"]
        return {"frames": torch.cat([v[:n] for v, n in zip(vectors, counts, strict=True)])}

    reference = lambda w, n: outputs_of_frames(export.encoder(w, n))  # noqa: E731
    return compare_outputs(export.encoder, encode, reference=reference)
