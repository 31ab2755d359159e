"""Separation without weights: median filters and repetition give four rough stems on any machine.

What is short in time and wide in frequency is called drums (harmonic-percussive separation,
Fitzgerald, 2010); the lowest part of the rest is called bass; what of the remainder does not repeat
is called vocals (REPET-SIM, Rafii and Pardo, 2012); what is left is other. The names are those of
trained separators, the quality is not: use it for tests, and where no weights can be had.
"""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from audiossl.errors import UserError
from audiossl.installation import missing_package

_FFT = 2048
_HOP = 512
_BASS_FADE = 0.8  # the fade into the bass begins at this share of its edge


@dataclass(frozen=True, kw_only=True)
class DecompositionConfig:
    """Drums, bass, vocals and other by librosa's median filters, at 16 kHz."""

    kind: Literal["decomposition"] = "decomposition"
    bass_edge: float = 250.0
    """Frequency in Hz below which what is not percussive is bass."""
    repetition: float = 2.0
    """Seconds that must lie between a moment and its repetition."""
    vocal_margin: float = 10.0
    """By how much the voice must exceed what repeats; more gives less vocals and more other."""
    window: float = 30.0
    """Seconds that are decomposed at once; repetition is looked for inside."""
    overlap: float = 0.1
    """Share of a window that the next one repeats."""


class Decomposition:
    """librosa's HPSS and REPET-SIM as a `Separator`; the stems sum to the mixture exactly."""

    names = ("drums", "bass", "vocals", "other")
    sample_rate = 16_000
    num_channels = 1
    standardizes = False
    device = torch.device("cpu")

    def __init__(self, config: DecompositionConfig) -> None:
        if not 0 <= config.overlap < 1 or config.window <= 2 * config.repetition:
            raise UserError(
                f"decomposition: overlap={config.overlap}, window={config.window} s: expected an "
                "overlap below 1, and a window of more than twice the repetition"
            )
        self.config = config
        self.window = int(config.window * self.sample_rate)
        self.overlap = config.overlap
        self.identity: dict[str, Any] = {
            "separator": "decomposition",
            **asdict(config),
            "librosa": version("librosa"),
        }

    def separate(
        self,
        mixtures: Float[Tensor, "batch 1 samples"],
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> dict[str, Float[Tensor, "batch samples"]]:
        """Separate one batch of windows, one after another; see `Separator.separate`."""
        stems = torch.zeros(len(self.names), len(mixtures), mixtures.shape[-1])
        for index, mixture in enumerate(mixtures[:, 0].cpu().numpy()):
            length = mixtures.shape[-1] if lengths is None else int(lengths[index])
            parts = decompose(mixture[:length], self.sample_rate, self.config)
            for stem, name in zip(stems, self.names, strict=True):
                stem[index, :length] = torch.from_numpy(parts[name])
        return dict(zip(self.names, stems, strict=True))


def decompose(
    mixture: Float32[np.ndarray, " samples"], sample_rate: int, config: DecompositionConfig
) -> dict[str, Float32[np.ndarray, " samples"]]:
    """Decompose one mixture; see the module.

    Soft masks share out every bin of the spectrogram. Whatever of the mixture the inverse transform
    of three stems does not hold goes to "other", so that all four sum to the mixture. In a mixture
    shorter than twice the repetition it is looked for at a quarter of the length; one of less than
    a spectrogram frame, or silent, is all "other".
    """
    stems = {name: np.zeros_like(mixture) for name in ("drums", "bass", "vocals")}
    if mixture.any() and len(mixture) >= _FFT:
        spectrum = _librosa().stft(mixture, n_fft=_FFT, hop_length=_HOP)
        masks = _masks(np.abs(spectrum), sample_rate, config)
        for name, mask in masks.items():
            stems[name] = _librosa().istft(spectrum * mask, hop_length=_HOP, length=len(mixture))
    return {**stems, "other": mixture - stems["drums"] - stems["bass"] - stems["vocals"]}


def _masks(
    magnitudes: Float32[np.ndarray, "bins frames"], sample_rate: int, config: DecompositionConfig
) -> dict[str, Float32[np.ndarray, "bins frames"]]:
    harmonic, percussive = _librosa().decompose.hpss(magnitudes, mask=True)
    frequencies = np.arange(len(magnitudes), dtype=np.float32)[:, None] * (sample_rate / _FFT)
    fade = (config.bass_edge - frequencies) / ((1 - _BASS_FADE) * config.bass_edge)
    bass = harmonic * np.clip(fade, 0, 1)
    rest = harmonic - bass
    lag = round(config.repetition * sample_rate / _HOP)
    voice = _voice_mask(magnitudes * rest, lag, config.vocal_margin)
    return {"drums": percussive, "bass": bass, "vocals": rest * voice}


def _voice_mask(
    magnitudes: Float32[np.ndarray, "bins frames"], lag: int, margin: float
) -> Float32[np.ndarray, "bins frames"]:
    """Mark what exceeds the median of the frames that are most alike, `lag` or more away."""
    num_frames = magnitudes.shape[1]
    lag = min(lag, num_frames // 4)
    if lag < 1:
        return np.zeros_like(magnitudes)
    similar = _librosa().decompose.nn_filter(
        magnitudes, aggregate=np.median, metric="cosine", width=lag
    )
    repeating = np.minimum(magnitudes, similar)
    return _librosa().util.softmask(magnitudes - repeating, margin * repeating, power=2)


def _librosa() -> Any:
    try:
        import librosa
    except ImportError as error:
        what = f"decomposition ({error})"
        raise UserError(missing_package(what, "librosa", "separation")) from error
    return librosa
