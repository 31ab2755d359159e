"""Which things of a corpus belong together: five kinds of pairs that audio brings by itself.

Each function lists pairs as `Reference`s; nothing is decoded here. What cannot be a pair comes as a
`Skip` with its reason, so that a stage can count it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from audiossl.configs import Positive
from audiossl.data.corpus import Corpus
from audiossl.data.layout import RECORDING, SAMPLE_RATE
from audiossl.data.pairs import Pair, Reference
from audiossl.data.text_units import normalized
from audiossl.errors import Skip, UserError

Found = Iterator[Pair | Skip]


@dataclass(frozen=True, kw_only=True)
class Stems:
    """A mixture and each of its stems that sounds; modalities `mixture` and `stem`."""

    kind: Literal["stems"] = "stems"
    stems: tuple[str, ...] = ()
    """Names of the stems; all by default."""
    window: Positive = 2.0
    """Duration of a pair in seconds."""
    hop: Positive = 2.0
    """Seconds from one pair to the next."""
    active_dbfs: float = -40.0
    """Threshold in dBFS of the mean magnitude above which a stem is active."""
    group: str = "group"
    """Label that names the song; the cut itself where it is missing."""


def stem_pairs(corpus: Corpus, cuts: Sequence[int], config: Stems) -> Found:
    """Pair windows of mixtures with those of the stems that sound in them.

    All stems of one window are of one concept: a mixture that finds another stem of its own window
    is right.
    """
    names, window = config.stems or corpus.stems, config.window
    if missing := [name for name in names if name not in corpus.stems]:
        raise UserError(
            f"{corpus.folder} has no stem {missing[0]!r} (it has {', '.join(corpus.stems) or '-'}):"
            " give the output of recipes.source_association.separate as stems"
        )
    size, step = round(window * SAMPLE_RATE), round(config.hop * SAMPLE_RATE)
    threshold = 10 ** (config.active_dbfs / 20)
    for cut, labels in _labeled(corpus, cuts):
        starts = range(0, max(int(corpus.num_samples[cut]) - size + 1, 0), step)
        sounding = [
            (start, name)
            for start in starts
            for name in names
            if corpus.fields[name].mean_magnitude(cut, start, size) > threshold
        ]
        if not sounding:
            yield Skip(f"{labels['id']}: shorter than {window} s, or no stem of it sounds")
        for start, name in sounding:
            seconds = start / SAMPLE_RATE
            concept = f"{labels['id']}@{seconds:g}"
            modalities = {
                "mixture": Reference("sound", labels["id"], RECORDING, seconds, window),
                "stem": Reference("sound", labels["id"], name, seconds, window),
            }
            of = labels.get(config.group, labels["id"])
            yield Pair(f"{concept}/{name}", modalities, concept, of, {**labels, "stem": name})


@dataclass(frozen=True, kw_only=True)
class Transcripts:
    """Speech and what is said; modalities `speech` and `text`."""

    kind: Literal["transcripts"] = "transcripts"
    text: str = "text"
    """Label that holds the transcript."""
    group: str = "text"
    """Label of the unit of resampling for intervals; the text where it is missing."""


def transcript_pairs(corpus: Corpus, cuts: Sequence[int], config: Transcripts) -> Found:
    """Pair recordings with what is said in them; equal texts are of one concept."""
    text = config.text
    for _, labels in _labeled(corpus, cuts):
        transcript = normalized(labels.get(text, ""))
        if not transcript:
            yield Skip(f"{labels['id']}: has no {text} to be paired with")
            continue
        modalities = {
            "speech": Reference("sound", labels["id"]),
            "text": Reference("text", labels[text]),
        }
        yield Pair(
            labels["id"], modalities, transcript, labels.get(config.group, transcript), labels
        )


@dataclass(frozen=True, kw_only=True)
class Readings:
    """Two voices that read one text; modalities `voice` and `other_voice`."""

    kind: Literal["readings"] = "readings"
    text: str = "text"
    """Label that readings of one text share; a prompt's id will do."""
    voice: str = "speaker"
    """Label of the voice."""


def reading_pairs(corpus: Corpus, cuts: Sequence[int], config: Readings) -> Found:
    """Pair readings of one text by different voices, every voice with the next."""
    text, voice = config.text, config.voice
    readings: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for _, labels in _labeled(corpus, cuts):
        transcript = normalized(labels.get(text, ""))
        if not transcript or voice not in labels:
            yield Skip(
                f"{labels['id']}: has no {text if not transcript else voice}, and no partner"
            )
            continue
        readings[transcript].setdefault(labels[voice], labels)
    for transcript, by_voice in readings.items():
        voices = sorted(by_voice)
        if len(voices) < 2:
            yield Skip(f"{by_voice[voices[0]]['id']}: nobody else reads {transcript!r}")
            continue
        for first, second in zip(voices, voices[1:] + voices[:1], strict=True):
            one, other = by_voice[first], by_voice[second]
            modalities = {
                "voice": Reference("sound", one["id"]),
                "other_voice": Reference("sound", other["id"]),
            }
            yield Pair(f"{one['id']}+{other['id']}", modalities, transcript, transcript, one)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """A recording and its performed score as MIDI; modalities `audio` and `score`."""

    kind: Literal["scores"] = "scores"
    window: Positive = 5.0
    """Duration of a pair in seconds."""
    score: str = "score"
    """Label with the path of the MIDI file, in the folder that is given as source; by default the
    recording's own with `.mid`."""


def score_pairs(corpus: Corpus, cuts: Sequence[int], config: Scores, folder: str | Path) -> Found:
    """Pair windows of recordings with the same time of their performed scores, in `folder`."""
    folder, window = Path(folder), config.window
    for cut, labels in _labeled(corpus, cuts):
        name = labels.get(config.score) or f"{labels['id']}.mid"
        if not (folder / name).is_file():
            yield Skip(f"{labels['id']}: has no score {folder / name}")
            continue
        seconds = float(corpus.num_samples[cut]) / SAMPLE_RATE
        for start in np.arange(0.0, seconds - window + 1e-6, window).tolist():
            path = str(folder / name)
            modalities = {
                "audio": Reference("sound", labels["id"], RECORDING, start, window),
                "score": Reference("score", path, start=start, duration=window),
            }
            identity = f"{labels['id']}@{start:g}"
            yield Pair(identity, modalities, identity, labels["id"], labels)


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """One clip under two encoders or front ends; the modalities have any names."""

    kind: Literal["encoders"] = "encoders"
    window: Positive = 5.0
    """Duration of a pair in seconds; a shorter recording is one pair."""


def encoder_pairs(
    corpus: Corpus, cuts: Sequence[int], config: Encoders, modalities: Sequence[str]
) -> Found:
    """Pair each window of a recording with itself, for several encoders or front ends."""
    window = config.window
    for cut, labels in _labeled(corpus, cuts):
        seconds = float(corpus.num_samples[cut]) / SAMPLE_RATE
        for start in np.arange(0.0, max(seconds - window, 0.0) + 1e-6, window).tolist():
            place = Reference("sound", labels["id"], RECORDING, start, min(window, seconds - start))
            identity = f"{labels['id']}@{start:g}"
            yield Pair(identity, dict.fromkeys(modalities, place), identity, labels["id"], labels)


def _labeled(corpus: Corpus, cuts: Sequence[int]) -> Iterator[tuple[int, dict[str, str]]]:
    wanted = set(np.asarray(cuts).tolist())
    for index, labels in enumerate(corpus.labels()):
        if index in wanted:
            yield index, labels
