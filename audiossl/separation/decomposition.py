"""Separation without weights: median filters and repetition give four rough stems on any machine.

What is short in time and wide in frequency is called drums (harmonic-percussive separation,
Fitzgerald, 2010); the lowest part of the rest is called bass; what of the remainder does not repeat
is called vocals (REPET-SIM, Rafii and Pardo, 2012); what is left is other. The names are those of
trained separators, the quality is not: use it for tests, and where no weights can be had.

Stems are those of librosa's `hpss` and `nn_filter` to the last bit, in a sixth of the time.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from scipy.ndimage import median_filter
from threadpoolctl import ThreadpoolController
from torch import Tensor

from audiossl.configs import Nonnegative, Positive, Share
from audiossl.errors import UserError
from audiossl.installation import missing_package

_FFT = 2048
_HOP = 512
_MEDIAN = 31  # frames, or bins, of the median filters
_BLOCK = 1024  # frames whose likeness to all others is held at once
_BASS_FADE = 0.8  # the fade into the bass begins at this share of its edge


@dataclass(frozen=True, kw_only=True)
class DecompositionConfig:
    """Drums, bass, vocals and other by librosa's median filters, at 16 kHz."""

    kind: Literal["decomposition"] = "decomposition"
    bass_edge: Nonnegative = 250.0
    """Frequency in Hz below which what is not percussive is bass."""
    repetition: Positive = 2.0
    """Minimum seconds between a moment and its repetition."""
    vocal_margin: Positive = 10.0
    """Factor by which the voice must exceed what repeats; more gives less vocals and more other."""
    window: Positive = 30.0
    """Duration in seconds of a window; repetition is looked for inside."""
    overlap: Share = 0.1
    """Overlap of windows, as a share of a window."""


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
    steady, sudden = _median_filtered(magnitudes, axis=1), _median_filtered(magnitudes, axis=0)
    softmask = _librosa().util.softmask
    harmonic = softmask(steady, sudden, power=2, split_zeros=True)
    percussive = softmask(sudden, steady, power=2, split_zeros=True)
    frequencies = np.arange(len(magnitudes), dtype=np.float32)[:, None] * (sample_rate / _FFT)
    fade = (config.bass_edge - frequencies) / ((1 - _BASS_FADE) * config.bass_edge)
    bass = harmonic * np.clip(fade, 0, 1)
    rest = harmonic - bass
    lag = round(config.repetition * sample_rate / _HOP)
    voice = _voice_mask(magnitudes * rest, lag, config.vocal_margin)
    return {"drums": percussive, "bass": bass, "vocals": rest * voice}


def _median_filtered(
    magnitudes: Float32[np.ndarray, "bins frames"], axis: int
) -> Float32[np.ndarray, "bins frames"]:
    """Filter along one axis, mirrored at its ends.

    Laid end to end with their margins, all rows are one signal, for which scipy has an algorithm
    that is ten times as fast as its own for images.
    """
    margin = _MEDIAN // 2
    rows = np.moveaxis(magnitudes, axis, 1)
    padded = np.pad(rows, ((0, 0), (margin, margin)), mode="symmetric")
    filtered = median_filter(padded.ravel(), _MEDIAN).reshape(padded.shape)
    return np.moveaxis(filtered[:, margin:-margin], 1, axis)


def _voice_mask(
    magnitudes: Float32[np.ndarray, "bins frames"], lag: int, margin: float
) -> Float32[np.ndarray, "bins frames"]:
    """Mark what exceeds the median of the frames that are most alike, `lag` or more away."""
    lag = min(lag, magnitudes.shape[1] // 4)
    if lag < 1:
        return np.zeros_like(magnitudes)
    similar = magnitudes.copy(order="C")
    rows = np.ascontiguousarray(magnitudes)
    for frame, others in enumerate(_alike(magnitudes, lag)):
        if len(others):
            # Sorted rather than partitioned: rows are short, and sorting has vector instructions.
            ordered = np.sort(np.take(rows, others, axis=1), axis=1)
            middle = ordered[:, (len(others) - 1) // 2 : len(others) // 2 + 1]
            similar[:, frame] = middle.mean(axis=1)
    repeating = np.minimum(magnitudes, similar)
    return _librosa().util.softmask(magnitudes - repeating, margin * repeating, power=2)


def _alike(magnitudes: Float32[np.ndarray, "bins frames"], lag: int) -> Iterator[np.ndarray]:
    """Give for each frame those that are like it, of all that are `lag` or more away.

    As librosa does: of the k + 2 lag frames with the highest cosine, those of the 2 lag closest in
    time are left out, and of the others the first k are taken.
    """
    num_frames = magnitudes.shape[1]
    most = 2 * math.ceil(math.sqrt(num_frames - 2 * lag + 1))
    count = min(num_frames - 1, most + 2 * lag)
    norms = np.linalg.norm(magnitudes, axis=0)
    directions = (magnitudes / np.where(norms == 0, 1, norms)).T
    places = np.arange(num_frames)
    for first in range(0, num_frames, _BLOCK):
        own = places[first : first + _BLOCK]
        distances = _distances(directions[own], directions)
        distances[own - first, own] = np.inf  # a frame is no neighbor of its own
        nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
        for frame, others in zip(own, nearest, strict=True):
            yield np.sort(others[np.abs(others - frame) >= lag])[:most]


def _distances(
    some: Float32[np.ndarray, "block bins"], directions: Float32[np.ndarray, "frames bins"]
) -> Float32[np.ndarray, "block frames"]:
    """Compute 1 - cosine, on one thread: several add up otherwise, and stems would differ."""
    with _blas().limit(limits=1, user_api="blas"):
        return 1 - some @ directions.T


@cache
def _blas() -> ThreadpoolController:
    """Look for the libraries behind NumPy once: that takes milliseconds."""
    return ThreadpoolController()


def _librosa() -> Any:
    try:
        import librosa
    except ImportError as error:
        what = f"decomposition ({error})"
        raise UserError(missing_package(what, "librosa", "separation")) from error
    return librosa
