"""Codes as detectors of words: precision, recall and F1 of a code for a word.

Source: Liu et al., "Cross-Modal Discrete Representation Learning" (ACL 2022), section 5. Precision
is the share of a code's frames that overlap the word. Of recall the paper does not say what it is
a share of; here it is that of the word's tokens during which the code fires at least once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from audiossl.data.alignments import AlignedWord


@dataclass(frozen=True)
class CodeWord:
    """What a code says of a word."""

    code: int
    word: str
    precision: float
    recall: float
    uses: int
    """Frames of the code."""

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-12)


def code_words(
    codes: Sequence[Int[np.ndarray, " _"]],
    words: Sequence[Sequence[AlignedWord]],
    frame_rate: float,
) -> list[list[CodeWord]]:
    """Give every code that is used its words, best F1 first; codes by the F1 of their best.

    Args:
        codes: Of each clip.
        words: Of each clip, in seconds from its beginning (or in tokens, where rates are by token).
        frame_rate: Frames a second (or a token).

    Example:
        >>> words = [[AlignedWord("hi", 0.0, 0.2), AlignedWord("you", 0.2, 0.4)]]
        >>> first, second = code_words([np.array([5, 5, 7, 7])], words, frame_rate=10.0)
        >>> first[0].word, first[0].f1
        ('hi', 1.0)
    """
    uses: Counter[int] = Counter()
    tokens: Counter[str] = Counter()
    fired: dict[int, Counter[str]] = defaultdict(Counter)
    inside: dict[int, Counter[str]] = defaultdict(Counter)
    for clip, words_of_clip in zip(codes, words, strict=True):
        uses.update(clip.tolist())
        covered: dict[str, set[int]] = defaultdict(set)
        for word, start, end in words_of_clip:
            frames = range(*_frames(start, end, frame_rate, len(clip)))
            tokens[word] += 1
            covered[word].update(frames)
            for code in set(clip[frames.start : frames.stop].tolist()):
                fired[code][word] += 1
        for word, places in covered.items():
            for code, count in Counter(clip[sorted(places)].tolist()).items():
                inside[code][word] += count
    words_of_codes = [
        _best_first(
            CodeWord(code, word, count / uses[code], fired[code][word] / tokens[word], uses[code])
            for word, count in counts.items()
        )
        for code, counts in inside.items()
    ]
    return sorted(words_of_codes, key=lambda one: (-one[0].f1, one[0].code))


def _best_first(words_of_code: Iterable[CodeWord]) -> list[CodeWord]:
    return sorted(words_of_code, key=lambda one: (-one.f1, one.word))


def _frames(start: float, end: float, frame_rate: float, count: int) -> tuple[int, int]:
    """Number the frames that a time overlaps; rounding errors make no overlap."""
    first = int(np.floor(start * frame_rate + 1e-6))
    last = int(np.ceil(end * frame_rate - 1e-6))
    return min(max(first, 0), count), min(max(last, 0), count)
