"""From references to values: what stands at each modality of a pair, as the method will read it."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

import numpy as np
import torch
from typing_extensions import assert_never

from audiossl.data.pair_corpus import ModalityFacts, Values, checked
from audiossl.data.pair_sounds import PairSounds
from audiossl.data.pairs import Pair, Reference
from audiossl.data.piano_rolls import CHANNELS, KEYS, piano_roll
from audiossl.data.reading import SAMPLE_RATE
from audiossl.data.text_units import TextUnits, read_lexicon, vocabulary_of
from audiossl.errors import Skip, UserError
from audiossl.models.encoder import Encoder
from audiossl.pretrained.load import load_encoder


@dataclass(frozen=True, kw_only=True)
class SoundFront:
    """Frames of a front end or of a frozen encoder."""

    kind: Literal["sound"] = "sound"
    encoder: str = "log_mel:40"
    """Encoder as `load_encoder` takes it: log_mel:40, exp/pretrain, hf:<folder>, spear:<folder>,
    ..."""


@dataclass(frozen=True, kw_only=True)
class TextFront:
    """Tokens of a text."""

    kind: Literal["text"] = "text"
    units: Literal["characters", "phones"] = "characters"
    """Units of the text. phones: of the stage's lexicon; words that it lacks are one unknown
    token."""


@dataclass(frozen=True, kw_only=True)
class ScoreFront:
    """Piano rolls: onset, sounding and velocity of 88 keys."""

    kind: Literal["score"] = "score"
    frame_rate: float = 20.0
    """Frame rate in Hz."""


@dataclass(frozen=True, kw_only=True)
class ArrayFront:
    """Vectors computed elsewhere; all axes but the last become positions."""

    kind: Literal["array"] = "array"
    frame_rate: float = 1.0
    """Positions per second; 1 where they are no times."""


FrontConfig: TypeAlias = SoundFront | TextFront | ScoreFront | ArrayFront


class Front(ABC):
    """Reads the values of one modality."""

    facts: ModalityFacts

    @abstractmethod
    def values(self, reference: Reference) -> Values:
        """Read what a reference stands for.

        Raises:
            Skip: It cannot be read.
        """


def fronts_of(
    configs: Mapping[str, FrontConfig],
    pairs: Sequence[Pair],
    corpora: Sequence[Path],
    lexicon: Path | None,
    device: str,
) -> dict[str, Front]:
    """Make what reads each modality.

    Args:
        configs: How, by name of the modality.
        pairs: All pairs: their texts make the vocabulary, their arrays say their size.
        corpora: Folders of one corpus, for sounds.
        lexicon: A pronunciation dictionary, for phones.
        device: Where encoders run.

    Raises:
        UserError: Something that a modality needs is not given.
    """
    return {
        modality: _front(
            config, [pair.modalities[modality] for pair in pairs], corpora, lexicon, device
        )
        for modality, config in configs.items()
    }


def _front(
    config: FrontConfig,
    references: Sequence[Reference],
    corpora: Sequence[Path],
    lexicon: Path | None,
    device: str,
) -> Front:
    match config:
        case SoundFront():
            return Sounds(config, corpora, device)
        case TextFront():
            return Texts(config, (reference.place for reference in references), lexicon)
        case ScoreFront():
            return Scores(config)
        case ArrayFront():
            return Arrays(config, references)
        case _:
            assert_never(config)


class Sounds(Front):
    """Cuts and stems through an encoder."""

    def __init__(self, config: SoundFront, corpora: Sequence[Path], device: str) -> None:
        if not corpora:
            raise UserError("a sound modality needs the output of a prepare stage as cuts")
        self.sounds, self.device = PairSounds(*corpora), device
        self.encoder = load_encoder(config.encoder).to(device)
        encoder = cast(Encoder, self.encoder)
        if encoder.sample_rate != SAMPLE_RATE:
            raise UserError(
                f"{config.encoder} needs {encoder.sample_rate} Hz; corpora here have {SAMPLE_RATE}"
            )
        self.facts = ModalityFacts("sound", encoder.dim, encoder.frame_rate, config.encoder)

    def values(self, reference: Reference) -> Values:
        """Encode a piece of a cut."""
        waveform = torch.from_numpy(self.sounds.waveform(reference))
        lengths = torch.tensor([len(waveform)], device=self.device)
        with torch.inference_mode():
            frames = self.encoder(waveform[None].to(self.device), lengths)
        return cast(np.ndarray, frames.vectors[0, : int(frames.lengths[0])].float().cpu().numpy())


class Texts(Front):
    """Texts as numbers of their units."""

    def __init__(self, config: TextFront, texts: Iterable[str], lexicon: Path | None) -> None:
        if (config.units == "phones") != (lexicon is not None):
            raise UserError(
                "units phones need a pronunciation dictionary as lexicon, and characters need none"
            )
        words = read_lexicon(lexicon) if lexicon else None
        self.units = TextUnits(vocabulary_of(texts, words), words)
        vocabulary = self.units.vocabulary
        self.facts = ModalityFacts("text", len(vocabulary), 1.0, config.units, vocabulary)

    def values(self, reference: Reference) -> Values:
        """Number the units of a text."""
        return self.units.encode(reference.place)


class Scores(Front):
    """MIDI files as piano rolls."""

    def __init__(self, config: ScoreFront) -> None:
        self.facts = ModalityFacts("score", CHANNELS * KEYS, config.frame_rate, "piano roll")

    def values(self, reference: Reference) -> Values:
        """Draw a piece of a score."""
        return piano_roll(
            Path(reference.place),
            frame_rate=self.facts.frame_rate,
            start=reference.start,
            duration=reference.duration,
        )


class Arrays(Front):
    """Arrays in .npy files: (vectors, dim), or (clips, ..., dim) of which a row is a clip."""

    def __init__(self, config: ArrayFront, references: Sequence[Reference]) -> None:
        self.facts = ModalityFacts("array", 0, config.frame_rate, "given")
        for reference in references:
            try:
                size = self.values(reference).shape[1]
            except Skip:
                continue
            self.facts = ModalityFacts("array", int(size), config.frame_rate, "given")
            return

    def values(self, reference: Reference) -> Values:
        """Read an array, or a row of it."""
        path = Path(reference.place)
        array = _mapped(path)
        if reference.row is not None:
            if not 0 <= reference.row < len(array):
                raise Skip(f"{path}: has {len(array)} rows, and row {reference.row} is asked for")
            array = array[reference.row]
        return positions(array, str(path), self.facts.size)


def positions(array: np.ndarray, name: str, size: int = 0) -> Values:
    """Make all axes but the last one: a grid of an image's features becomes a list of them.

    Args:
        array: (dim,), (positions, dim), or (..., dim).
        name: What it is, for messages.
        size: Dimension it must have, if that is known.

    Raises:
        Skip: It holds no numbers, or vectors of another dimension.
    """
    if array.ndim == 0 or array.dtype.kind not in "fiu":
        raise Skip(f"{name}: {array.dtype} of {array.ndim} axes, expected vectors of numbers")
    rows = np.asarray(array, np.float32).reshape(-1, array.shape[-1])
    if size and rows.shape[1] != size:
        raise Skip(f"{name}: vectors of {rows.shape[1]} dimensions, others have {size}")
    return checked(rows, name)


@functools.lru_cache(maxsize=64)
def _mapped(path: Path) -> np.ndarray:
    try:
        return cast(np.ndarray, np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise Skip(f"{path}: cannot be read as an array ({error})") from error
