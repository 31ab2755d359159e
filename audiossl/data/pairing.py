"""Which things of a corpus belong together: five kinds of pairs that audio brings by itself.

Each function lists pairs as `Reference`s; nothing is decoded here. What cannot be a pair comes as a
`Skip` with its reason, so that a stage can count it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from audiossl.data.corpus import Corpus
from audiossl.data.layout import RECORDING, SAMPLE_RATE
from audiossl.data.pairs import Pair, Reference
from audiossl.data.text_units import normalized
from audiossl.errors import Skip, UserError

Found = Iterator[Pair | Skip]


def stem_pairs(
    corpus: Corpus,
    cuts: Sequence[int],
    *,
    stems: Sequence[str],
    window: float,
    hop: float,
    active_dbfs: float,
    group: str,
) -> Found:
    """Pair windows of mixtures with those of the stems that sound in them.

    All stems of one window are of one concept: a mixture that finds another stem of its own window
    is right.

    Args:
        corpus: Mixtures with their stems.
        cuts: Which of them.
        stems: Names of stems; all by default.
        window: Seconds.
        hop: Seconds from one window to the next.
        active_dbfs: A stem sounds where its mean magnitude is above this.
        group: Label that names what windows are of (a song); the cut itself where it is missing.
    """
    names = tuple(stems) or corpus.stems
    if missing := [name for name in names if name not in corpus.stems]:
        raise UserError(
            f"{corpus.folder} has no stem {missing[0]!r} (it has {', '.join(corpus.stems) or '-'}):"
            " give the output of recipes.source_association.separate as stems"
        )
    size, step = round(window * SAMPLE_RATE), round(hop * SAMPLE_RATE)
    threshold = 10 ** (active_dbfs / 20)
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
            of = labels.get(group, labels["id"])
            yield Pair(f"{concept}/{name}", modalities, concept, of, {**labels, "stem": name})


def transcript_pairs(corpus: Corpus, cuts: Sequence[int], *, text: str, group: str) -> Found:
    """Pair recordings with what is said in them; equal texts are of one concept.

    Args:
        corpus: Recordings of speech.
        cuts: Which of them.
        text: Label that holds the transcript.
        group: Label of what is resampled for intervals; the text where it is missing.
    """
    for _, labels in _labeled(corpus, cuts):
        transcript = normalized(labels.get(text, ""))
        if not transcript:
            yield Skip(f"{labels['id']}: has no {text} to be paired with")
            continue
        modalities = {
            "speech": Reference("sound", labels["id"]),
            "text": Reference("text", labels[text]),
        }
        yield Pair(labels["id"], modalities, transcript, labels.get(group, transcript), labels)


def reading_pairs(corpus: Corpus, cuts: Sequence[int], *, text: str, voice: str) -> Found:
    """Pair readings of one text by different voices, every voice with the next.

    Args:
        corpus: Recordings of speech.
        cuts: Which of them.
        text: Label that readings have in common: the text, or the id of a prompt.
        voice: Label that tells voices apart.
    """
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


def score_pairs(
    corpus: Corpus, cuts: Sequence[int], *, folder: str | Path, window: float, score: str
) -> Found:
    """Pair windows of recordings with the same time of their performed scores.

    Args:
        corpus: Recordings.
        cuts: Which of them.
        folder: Where the MIDI files are.
        window: Seconds of each pair.
        score: Label with a file's path in `folder`; by default the recording's own with `.mid`.
    """
    folder = Path(folder)
    for cut, labels in _labeled(corpus, cuts):
        name = labels.get(score) or f"{labels['id']}.mid"
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


def encoder_pairs(
    corpus: Corpus, cuts: Sequence[int], *, modalities: Sequence[str], window: float
) -> Found:
    """Pair each window of a recording with itself, for several encoders or front ends.

    Args:
        corpus: Recordings.
        cuts: Which of them.
        modalities: Names of the modalities.
        window: Seconds; a shorter recording is one window.
    """
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
