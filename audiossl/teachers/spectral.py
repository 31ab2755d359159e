"""Log-mel and cepstral frames as teachers: no weights, for the first targets of a bootstrap.

As HuBERT's first iteration learns clusters of MFCCs. Conventions: 16 kHz as it is, windows of 25 ms
that lie in the waveform, 50 frames a second on the very grid of wav2vec 2.0 and its relatives, so
that targets can later be replaced by those of a network.
"""

import torch
import torchaudio.functional as audio
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.teachers.mel import MelDialect, MelSpectrogram
from audiossl.teachers.slopes import slopes
from audiossl.teachers.teacher import FrozenTeacher

NUM_MELS = 80
FLOOR = 1e-6
"""Added to the power: near that of the rounding of 16-bit samples."""
NUM_CEPSTRA = 13
REACH = 2
"""Frames to each side from which a slope is estimated."""


MOST_MELS = 1024
"""Bands beyond which most would lie between two bins of the spectrum."""


def load_log_mel(place: str = "") -> "LogMelTeacher":
    """Make a log-mel teacher.

    Args:
        place: Number of mel bands; empty is 80.

    Raises:
        UserError: `place` is not a number.
    """
    if place and not (place.isascii() and place.isdecimal() and 1 <= int(place) <= MOST_MELS):
        raise UserError(
            f"log_mel:{place}: not a number of mel bands from 1 to {MOST_MELS}; write log_mel:80"
        )
    return LogMelTeacher(int(place or NUM_MELS))


def load_mfcc(place: str = "") -> "MfccTeacher":
    """Make a cepstral teacher.

    Args:
        place: Empty; there is nothing to choose.

    Raises:
        UserError: `place` is not empty.
    """
    if place:
        raise UserError(f"mfcc:{place}: takes nothing behind the colon; write mfcc:")
    return MfccTeacher()


class LogMelTeacher(FrozenTeacher):
    """Log power in mel bands."""

    def __init__(self, num_mels: int = NUM_MELS) -> None:
        super().__init__()
        self.sample_rate, self.frame_rate, self.dim = 16000, 50.0, num_mels
        self.convention = f"log-mel, {num_mels} bands; waveforms as they are"
        self.mel = _mel(num_mels, hop_length=320)
        self.eval()

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        power, num_frames = self.mel(waveforms, lengths)
        return Frames((power + FLOOR).log(), num_frames, self.frame_rate)


class MfccTeacher(FrozenTeacher):
    """13 mel-frequency cepstra with their first and second slopes."""

    dct: Float[Tensor, "mels cepstra"]

    def __init__(self) -> None:
        super().__init__()
        self.sample_rate, self.frame_rate, self.dim = 16000, 50.0, 3 * NUM_CEPSTRA
        self.convention = "13 MFCCs with first and second slopes; waveforms as they are"
        self.mel = _mel(NUM_MELS, hop_length=160)
        dct = audio.create_dct(NUM_CEPSTRA, NUM_MELS, norm="ortho")
        self.register_buffer("dct", dct, persistent=False)
        self.eval()

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        power, num_frames = self.mel(waveforms, lengths)
        cepstra = (power + FLOOR).log() @ self.dct
        first = slopes(cepstra, num_frames, REACH)
        vectors = torch.cat([cepstra, first, slopes(first, num_frames, REACH)], dim=2)
        # Slopes are those of 100 frames a second; every second frame is kept.
        return Frames(vectors[:, ::2], (num_frames + 1) // 2, self.frame_rate)


def _mel(num_mels: int, hop_length: int) -> MelSpectrogram:
    dialect = MelDialect(sample_rate=16000, window=400, hop_length=hop_length, edges="whole")
    return MelSpectrogram(dialect, audio.melscale_fbanks(201, 20.0, 7600.0, num_mels, 16000))
