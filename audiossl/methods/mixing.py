"""Mixing for robustness: noise, or another utterance of the batch, which may bring its own codes.

Two kinds of utterance mixing, as the two generations of SPEAR have them:

* a piece of another cut is laid over a part of the main one, whose codes stay (WavLM's way);
* the whole other cut is laid over the main one, after a delay, and sounds on behind its end. Codes
  are mixed like sound: where both sound, each (frame, codebook) takes the other's code with a
  probability that is the other's share of the power; behind the end of the main cut, they are the
  other's; where neither sounds, there is none.

Everything is drawn from one generator for the rows of a whole batch, on the device of the batch.
Partners are of one block of neighboring rows, which no splitting of a batch tears apart: mixing
does not depend on the number of ranks or parts.

Source: the authors' code of SPEAR (`marcoyang1998/icefall`). Two differences: delays are whole
frames of all codes, so that codes are moved exactly; partners are neighbors in a shuffled batch,
not any rows of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl import distributed
from audiossl.audio.frame_rates import IGNORED
from audiossl.audio.mixing import gain_for, mean_power, placed, power_share
from audiossl.batches import DOMAINS, CodeBatch
from audiossl.configs import Count, Nonnegative, Share
from audiossl.errors import UserError

SPEECH = DOMAINS.index("speech")
NUM_DRAWS = 8
"""Uniform numbers that decide how a cut is mixed."""


@dataclass(frozen=True, kw_only=True)
class MixingConfig:
    """How often cuts are mixed with what. Ranges are uniform; nothing is mixed by default."""

    speech_probability: Share = 0.0
    """Probability of mixing a speech cut."""
    audio_probability: Share = 0.0
    """Probability of mixing any other cut, always with noise."""
    utterance_share: Share = 0.0
    """Share of the mixed speech cuts that get another cut of the batch; the others get noise."""
    noise_snr: tuple[float, float] = (10.0, 20.0)
    """Signal-to-noise ratio of the cut and the noise, dB."""
    noise_overlap: tuple[Share, Share] = (1.0, 1.0)
    """Share of the cut over which noise sounds."""
    utterance_snr: tuple[float, float] = (-5.0, 5.0)
    """Signal-to-noise ratio of the cut and the other, dB."""
    mix_codes: bool = False
    """Whether the other cut comes whole and with its codes; a piece without codes otherwise."""
    utterance_overlap: tuple[Share, Share] = (0.2, 0.5)
    """Share of the cut over which a piece of the other sounds."""
    longest_delay: Nonnegative = 2.0
    """Maximum delay of a whole other cut, seconds."""
    block: Count = 2
    """Number of neighboring rows that are partners of each other; every share of a batch has a
    multiple."""

    def __post_init__(self) -> None:
        """Check what values alone can tell.

        Raises:
            UserError: A value makes no sense.
        """
        for name in ("speech_probability", "audio_probability", "utterance_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"mixing.{name} is {getattr(self, name)}: give 0 to 1")
        for name in ("noise_overlap", "utterance_overlap", "noise_snr", "utterance_snr"):
            low, high = getattr(self, name)
            if low > high or (name.endswith("overlap") and not 0.0 <= low <= high <= 1.0):
                raise UserError(f"mixing.{name} is [{low}, {high}]: give least and greatest value")
        if self.block < 2 or self.longest_delay < 0:
            raise UserError(
                f"mixing.block is {self.block} and mixing.longest_delay {self.longest_delay}: "
                "give at least 2 rows, and a delay of at least 0 s"
            )

    @property
    def wants_noise(self) -> bool:
        """Whether some cut may be mixed with noise."""
        return self.speech_probability * (1 - self.utterance_share) + self.audio_probability > 0

    @property
    def wants_utterances(self) -> bool:
        """Whether some cut may be mixed with another."""
        return self.speech_probability * self.utterance_share > 0

    @property
    def tail(self) -> float:
        """Seconds by which a batch grows."""
        return self.longest_delay if self.wants_utterances and self.mix_codes else 0.0


def mix(
    batch: CodeBatch,
    config: MixingConfig,
    code_rates: Mapping[str, float],
    sample_rate: int,
    generator: torch.Generator,
) -> CodeBatch:
    """Mix the cuts of a batch with noise and with each other.

    Args:
        batch: This share of a global batch; codes by name.
        config: How often, with what.
        code_rates: Codes a second, by name; samples of a frame must be whole numbers.
        sample_rate: Samples a second of the waveforms, Hz.
        generator: Source of random draws, seeded alike on all ranks.

    Returns:
        The batch with mixed waveforms, lengths and codes, without noise. Where codes are mixed it
        is `config.tail` seconds longer.

    Raises:
        UserError: Noise is asked for and there is none, or rows are no multiple of a block.
    """
    if not (config.wants_noise or config.wants_utterances):
        return replace(batch, noise=None)
    _check(batch, config)
    decided = _decide(batch, config, sample_rate / min(code_rates.values()), sample_rate, generator)
    size = batch.waveforms.shape[1] + round(config.tail * sample_rate)
    waveforms = torch.nn.functional.pad(batch.waveforms, (0, size - batch.waveforms.shape[1]))
    sources = batch.waveforms[decided.partners]
    if batch.noise is not None:
        sources = torch.where(decided.by_noise[:, None], batch.noise, sources)
    added = placed(sources, decided.begins, decided.counts, decided.places, size=size)
    main, other = mean_power(batch.waveforms, batch.lengths), mean_power(added, decided.counts)
    gains = gain_for(main, other, decided.snr) * (decided.by_noise | decided.by_utterance)
    shares = power_share(main, other, gains)
    lengths, codes = batch.lengths, batch.codes
    if config.mix_codes:
        ends = torch.maximum(lengths, decided.places + decided.counts)
        lengths = torch.where(decided.by_utterance, ends, lengths)
        mixer = partial(
            mixed_codes, decided=decided, shares=shares, tail=config.tail, generator=generator
        )
        codes = {
            name: mixer(codes[name], rate=rate, frame_samples=round(sample_rate / rate))
            for name, rate in code_rates.items()
        }
    mixed = waveforms + gains[:, None] * added
    return replace(batch, waveforms=mixed, lengths=lengths, codes=codes, noise=None)


@dataclass(frozen=True)
class Decisions:
    """How each cut of a batch is mixed."""

    by_noise: Bool[Tensor, " batch"]
    by_utterance: Bool[Tensor, " batch"]
    partners: Int[Tensor, " batch"]
    """Row of the other cut."""
    snr: Float[Tensor, " batch"]
    begins: Int[Tensor, " batch"]
    """First sample of the piece of noise or of the other cut."""
    counts: Int[Tensor, " batch"]
    """Samples of that piece."""
    places: Int[Tensor, " batch"]
    """Sample of the main cut where the piece begins."""


def mixed_codes(
    codes: Int[Tensor, "batch frames codebooks"],
    *,
    decided: Decisions,
    shares: Float[Tensor, " batch"],
    rate: float,
    frame_samples: int,
    tail: float,
    generator: torch.Generator,
) -> Int[Tensor, "batch more codebooks"]:
    """Mix the codes of cuts as their sound is mixed.

    Args:
        codes: Of each cut; `IGNORED` where there is none.
        decided: How cuts are mixed.
        shares: Probability of taking the other's code where both have one: its share of the power.
        rate: Codes a second.
        frame_samples: Samples that one of them stands for.
        tail: Seconds by which the result is longer.
        generator: Source of chance.
    """
    size = codes.shape[1] + round(tail * rate)
    main = torch.nn.functional.pad(codes, (0, 0, 0, size - codes.shape[1]), value=IGNORED)
    delays = torch.div(decided.places, frame_samples, rounding_mode="floor")
    whole = torch.full_like(delays, codes.shape[1])
    partners = codes[decided.partners]
    other = placed(partners, torch.zeros_like(delays), whole, delays, size=size, fill=IGNORED)
    draws = _uniform(len(codes), (size, codes.shape[2]), codes.device, generator)
    taken = (draws < shares[:, None, None]) | (main == IGNORED)
    taken &= (other != IGNORED) & decided.by_utterance[:, None, None]
    return torch.where(taken, other, main)


def _check(batch: CodeBatch, config: MixingConfig) -> None:
    if config.wants_noise and batch.noise is None:
        raise UserError(
            "mixing asks for noise, and the batch brings none: name cuts of noise for the data, or "
            "set mixing.audio_probability to 0 and mixing.utterance_share to 1"
        )
    if config.wants_utterances and len(batch.waveforms) % config.block:
        raise UserError(
            f"{len(batch.waveforms)} cuts of a batch cannot be put into blocks of {config.block} "
            "partners: let plan.multiple be a multiple of ranks x loop.accumulate x mixing.block"
        )


def _decide(
    batch: CodeBatch,
    config: MixingConfig,
    unit: float,
    sample_rate: int,
    generator: torch.Generator,
) -> Decisions:
    """Draw who is mixed with what, where; delays are multiples of `unit` samples."""
    lengths = batch.lengths
    draws = _uniform(len(lengths), (NUM_DRAWS,), lengths.device, generator)
    chosen, kind, snr, overlap, place, begin, partner, delay = draws.unbind(dim=1)
    speech = batch.domains == SPEECH
    probabilities = torch.where(speech, config.speech_probability, config.audio_probability)
    mixed = chosen < probabilities
    by_utterance = mixed & speech & (kind < config.utterance_share)
    by_noise = mixed & ~by_utterance
    partners = _partners(partner, config.block)
    available = torch.where(by_utterance, lengths[partners], batch.waveforms.shape[1])
    wanted = torch.where(
        by_utterance,
        _within(overlap, config.utterance_overlap),
        _within(overlap, config.noise_overlap),
    )
    counts = torch.minimum((wanted * lengths).long(), available)
    places = (place * (lengths - counts + 1)).long().clamp(min=0)
    begins = (begin * (available - counts + 1)).long().clamp(min=0)
    if config.mix_codes:
        most = (lengths / sample_rate).clamp(max=config.longest_delay) * sample_rate
        delays = (delay * most / unit).floor().long() * round(unit)
        counts = torch.where(by_utterance, available, counts)
        places = torch.where(by_utterance, delays, places)
        begins = begins.masked_fill(by_utterance, 0)
    ratios = torch.where(
        by_utterance, _within(snr, config.utterance_snr), _within(snr, config.noise_snr)
    )
    return Decisions(by_noise, by_utterance, partners, ratios, begins, counts, places)


def _partners(draws: Float[Tensor, " batch"], block: int) -> Int[Tensor, " batch"]:
    """Choose another row of each row's block; of rows that fill no block, themselves."""
    rows = torch.arange(len(draws), device=draws.device)
    steps = 1 + (draws * (block - 1)).long()
    first = rows - rows % block
    partners = first + (rows - first + steps) % block
    return torch.where(first + block <= len(draws), partners, rows)


def _within(draws: Float[Tensor, " batch"], bounds: tuple[float, float]) -> Float[Tensor, " batch"]:
    return bounds[0] + draws * (bounds[1] - bounds[0])


def _uniform(
    rows: int, shape: tuple[int, ...], device: torch.device, generator: torch.Generator
) -> Float[Tensor, "rows *shape"]:
    return distributed.draw_rows(
        rows, lambda count: torch.rand(count, *shape, device=device, generator=generator)
    )
