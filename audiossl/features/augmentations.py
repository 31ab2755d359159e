"""Augmentations of crops, on the device: what may differ between views of one recording.

Each crop is drawn for alone, from one generator, so that the result is the same on any number of
ranks. In order: speed, pitch, a filter, an echo, a room, noise, polarity, level; and masks of its
features. A crop that an augmentation leaves silent, or not finite, stays as it was.

The kinds are those of CLMR (Spijkervet and Burgoyne, "Contrastive Learning of Musical
Representations", ISMIR 2021); its ranges are not published, and these are ours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import torch
import torchaudio.functional as audio
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl import distributed
from audiossl.configs import Nonnegative, Positive, Range, Share
from audiossl.errors import UserError
from audiossl.features.spec_augment import SpecAugmentConfig, spec_augment

SILENT = 1e-3
"""Share of its amplitude below which an augmented crop counts as silent: -60 dB."""
Decibels = Annotated[float, Range(-100, 100)]
Cents = Annotated[int, Range(-1200, 1200)]
Rows = Float[Tensor, "rows samples"]


@dataclass(frozen=True, kw_only=True)
class AugmentationsConfig:
    """Probabilities and ranges; a probability of 0 leaves an augmentation out."""

    speeds: tuple[Positive, ...] = (1.0,)
    """Factors of speed, and so of pitch, of which each crop has one; what a faster crop lacks at
    its end is silence."""
    pitches: tuple[Cents, ...] = (0,)
    """Shifts of pitch in cents, of which each crop has one; tempo is kept."""
    filter: Share = 0.4
    """Probability of a filter of 12 dB an octave: low-pass or high-pass, evenly."""
    low_pass: tuple[Positive, Positive] = (1000.0, 7000.0)
    """Lowest and highest cutoff of low-pass filters, Hz; drawn on a logarithmic scale."""
    high_pass: tuple[Positive, Positive] = (40.0, 800.0)
    """Lowest and highest cutoff of high-pass filters, Hz; drawn on a logarithmic scale."""
    delay: Share = 0.3
    """Probability of an echo."""
    delays: tuple[Positive, Positive] = (0.02, 0.3)
    """Shortest and longest delay of the echo, seconds; its level is -12 to -3 dB."""
    responses: tuple[Path, ...] = ()
    """Outputs of `prepare` stages for impulse responses of rooms."""
    reverb: Share = 0.3
    """Probability of a room, if there are `responses`."""
    noise: tuple[Path, ...] = ()
    """Outputs of `prepare` stages for noise."""
    noise_probability: Share = 0.5
    """Probability of adding noise, if there is any."""
    ratio: tuple[Decibels, Decibels] = (5.0, 30.0)
    """Lowest and highest signal-to-noise ratio in decibels."""
    polarity: Share = 0.5
    """Probability of turning the waveform upside down."""
    gain: Nonnegative = 6.0
    """Largest change of level in decibels, up or down."""
    masks: SpecAugmentConfig | None = None
    """Masks of bands and spans of the features; null: none."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UserError: One is upside down, or names nothing to draw from.
        """
        for name in ("low_pass", "high_pass", "delays", "ratio"):
            low, high = getattr(self, name)
            if low > high:
                raise UserError(f"augmentations.{name} {low} to {high}: give the lower one first")
        for name in ("speeds", "pitches"):
            if not getattr(self, name):
                raise UserError(
                    f"augmentations.{name}: there is nothing to draw: give one at least"
                )


class Augmentations:
    """Change crops, and their features.

    Example:
        >>> config = AugmentationsConfig(filter=0.0, delay=0.0, gain=0.0, polarity=1.0)
        >>> augment = Augmentations(config)
        >>> augment.waveforms(torch.ones(1, 4), None, None, torch.Generator())
        tensor([[-1., -1., -1., -1.]])
    """

    def __init__(self, config: AugmentationsConfig, sample_rate: int = 16000) -> None:
        """Check ranges against the rate.

        Raises:
            UserError: A cutoff is not below half the rate.
        """
        self.config, self.sample_rate = config, sample_rate
        if max(*config.low_pass, *config.high_pass) >= sample_rate / 2:
            raise UserError(f"augmentations: give cutoffs below {sample_rate / 2:g} Hz")

    def waveforms(
        self,
        waveforms: Rows,
        noise: Rows | None,
        responses: Float[Tensor, "rows taps"] | None,
        generator: torch.Generator,
    ) -> Rows:
        """Change crops.

        Args:
            waveforms: Crops.
            noise: What may be added to each.
            responses: Impulse response of a room for each, the direct sound first.
            generator: Source of chance, seeded alike on all ranks.
        """
        config = self.config
        draws = distributed.draw_rows(
            len(waveforms),
            lambda rows: torch.rand(rows, 13, device=waveforms.device, generator=generator),
        ).unbind(dim=1)
        changed = _each(waveforms, config.speeds, draws[0], self._played)
        changed = _each(changed, config.pitches, draws[1], self._shifted)
        filtered = self._filtered(changed, draws[3] < 0.5, draws[4])
        changed = _where(draws[2] < config.filter, filtered, changed)
        echoed = self._echoed(changed, draws[6], draws[7])
        changed = _where(draws[5] < config.delay, echoed, changed)
        if responses is not None:
            room = audio.fftconvolve(changed, responses)[:, : changed.shape[1]]
            changed = _where(draws[8] < config.reverb, room, changed)
        if noise is not None:
            noisy = audio.add_noise(changed, noise, _between(config.ratio, draws[10]))
            changed = _where(draws[9] < config.noise_probability, noisy, changed)
        signs = torch.where(draws[11] < config.polarity, -1.0, 1.0)
        gains = 10.0 ** (config.gain * (2 * draws[12] - 1) / 20.0)
        return _unless_silent(changed * (signs * gains)[:, None], waveforms)

    def features(
        self,
        features: Float[Tensor, "rows frames bins"],
        lengths: Int[Tensor, " rows"],
        generator: torch.Generator,
    ) -> Float[Tensor, "rows frames bins"]:
        """Mask bands and spans of features."""
        masks = self.config.masks
        return features if masks is None else spec_augment(features, lengths, masks, generator)

    def _played(self, rows: Rows, speed: float | int) -> Rows:
        """Play faster or slower, cut or followed by silence to the same length."""
        # Heard as if recorded at this rate: whole percents have small ratios.
        played = audio.resample(rows, round(100 * speed), 100)[:, : rows.shape[1]]
        return torch.nn.functional.pad(played, (0, rows.shape[1] - played.shape[1]))

    def _shifted(self, rows: Rows, cents: float | int) -> Rows:
        """Stretch by a phase vocoder, and play as much faster or slower: tempo stays.

        torchaudio's `pitch_shift` resamples between rates whose ratio is not simple, by kernels of
        a gigabyte. The ratio here is off by 0.2 cents at most.
        """
        ratio = Fraction(2.0 ** (cents / 1200.0)).limit_denominator(100)
        played = audio.resample(_stretched(rows, float(ratio)), *ratio.as_integer_ratio())
        return torch.nn.functional.pad(played, (0, 1))[:, : rows.shape[1]]

    def _filtered(
        self, rows: Rows, low: Bool[Tensor, " rows"], draws: Float[Tensor, " rows"]
    ) -> Rows:
        """Filter each row by a biquad of its own (Bristow-Johnson's cookbook, Q of 0.707)."""
        cutoffs = torch.where(
            low,
            _between([math.log(hz) for hz in self.config.low_pass], draws),
            _between([math.log(hz) for hz in self.config.high_pass], draws),
        ).exp()
        angle = 2 * math.pi * cutoffs / self.sample_rate
        alpha, cosine = angle.sin() / (2 * 0.707), angle.cos()
        middle = torch.where(low, 1 - cosine, -1 - cosine)
        above = torch.stack([middle.abs() / 2, middle, middle.abs() / 2], dim=1)
        below = torch.stack([1 + alpha, -2 * cosine, 1 - alpha], dim=1)
        return audio.lfilter(rows, below, above, clamp=False, batching=True)

    def _echoed(
        self, rows: Rows, delays: Float[Tensor, " rows"], levels: Float[Tensor, " rows"]
    ) -> Rows:
        seconds = _between(self.config.delays, delays)
        longest = round(self.config.delays[1] * self.sample_rate)
        taps = rows.new_zeros(len(rows), longest + 1)
        taps[:, 0] = 1.0
        places = (seconds * self.sample_rate).long().clamp(1, longest)[:, None]
        taps.scatter_(1, places, 10.0 ** (_between((-12.0, -3.0), levels) / 20.0)[:, None])
        return audio.fftconvolve(rows, taps)[:, : rows.shape[1]]


def _stretched(rows: Rows, factor: float) -> Float[Tensor, "rows stretched"]:
    """Make rows longer by a factor, by a phase vocoder with windows of 512 samples."""
    window, hop = torch.hann_window(512, device=rows.device), 128
    spectrum = torch.stft(rows, 512, hop, window=window, return_complex=True)
    advance = torch.linspace(0, math.pi * hop, spectrum.shape[1], device=rows.device)[:, None]
    stretched = audio.phase_vocoder(spectrum, 1.0 / factor, advance)
    return torch.istft(stretched, 512, hop, window=window, length=round(factor * rows.shape[1]))


def _between(range_: tuple[float, float] | list[float], draws: Tensor) -> Tensor:
    low, high = range_
    return low + (high - low) * draws


def _where(chosen: Bool[Tensor, " rows"], changed: Rows, rows: Rows) -> Rows:
    return torch.where(chosen[:, None], changed, rows)


def _each(
    rows: Rows,
    choices: tuple[float | int, ...],
    draws: Float[Tensor, " rows"],
    change: Callable[[Rows, float | int], Rows],
) -> Rows:
    """Change rows by the choice that was drawn for each; 0 cents and the speed 1 change nothing."""
    if set(choices) <= {0, 1.0}:
        return rows
    drawn = (draws * len(choices)).long().clamp(max=len(choices) - 1)
    changed = rows.clone()
    for index, choice in enumerate(choices):
        chosen = torch.nonzero(drawn == index)[:, 0]
        if len(chosen) and choice not in (0, 1.0):
            changed[chosen] = change(rows[chosen], choice)
    return changed


def _unless_silent(changed: Rows, rows: Rows) -> Rows:
    """Take back what has made silence, or no number, of a crop."""
    loudness = changed.square().mean(dim=1).sqrt()
    audible = loudness > SILENT * rows.square().mean(dim=1).sqrt()
    return _where(audible & loudness.isfinite(), changed, rows)
