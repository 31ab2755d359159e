"""Text as tokens: characters, or phones of a pronunciation dictionary."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from audiossl.data.lines import text_lines
from audiossl.errors import Skip, UserError

_APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}"
_ZERO_WIDTH_SPACE = "\N{ZERO WIDTH SPACE}"
_PROBABILITY = re.compile(r"\d*\.\d+(e-?\d+)?", re.ASCII)
UNKNOWN = "<unknown>"
"""First of every vocabulary: what the others do not cover."""


@dataclass(frozen=True)
class TextUnits:
    """From text to numbers."""

    vocabulary: tuple[str, ...]
    """Text of each unit, by number."""
    lexicon: Mapping[str, tuple[str, ...]] | None = None
    """Phones of each word; characters if None."""

    def encode(self, text: str) -> Int32[np.ndarray, " tokens"]:
        """Number the units of a text.

        Raises:
            Skip: Nothing of it can be written in these units.
        """
        numbers = {unit: number for number, unit in enumerate(self.vocabulary)}
        units = text_units(text, self.lexicon)
        known = [numbers.get(unit, 0) for unit in units]
        if not any(known):
            raise Skip(f"text {text!r} has no unit that is known: is it of another script?")
        return np.array(known, np.int32)


def text_units(text: str, lexicon: Mapping[str, tuple[str, ...]] | None = None) -> list[str]:
    """Split a text into its units: characters with spaces, or phones, an unknown word as one."""
    normal = normalized(text)
    if lexicon is None:
        return list(normal)
    return [phone for word in normal.split() for phone in lexicon.get(word, (UNKNOWN,))]


def vocabulary_of(
    texts: Iterable[str], lexicon: Mapping[str, tuple[str, ...]] | None = None
) -> tuple[str, ...]:
    """List all units of some texts in a fixed order."""
    units = {unit for text in texts for unit in text_units(text, lexicon)}
    return (UNKNOWN, *sorted(units - {UNKNOWN}))


def normalized(text: str) -> str:
    """Write a text in lower case, without punctuation, with single spaces.

    Letters, digits and apostrophes stay, and so do combining marks, which belong to their letters.
    Composed and decomposed forms of a text, and its compatible forms, give one and the same.

    >>> normalized("Don’t  stop, please!")
    "don't stop please"
    """
    lower = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    return " ".join("".join(map(_written, lower)).split())


def _written(character: str) -> str:
    """Write a character as it is, as an apostrophe, as a space, or not at all."""
    if character in _APOSTROPHES:
        return "'"
    category = unicodedata.category(character)
    if category[0] in "LMN":
        return character
    # Joiners, soft hyphens and marks of direction stand within words.
    return "" if category == "Cf" and character != _ZERO_WIDTH_SPACE else " "


def read_lexicon(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Read a pronunciation dictionary: a word and its phones a line, the first of several kept.

    Raises:
        UserError: It cannot be read, or a word has no phones.
    """
    path = Path(path)
    words: dict[str, tuple[str, ...]] = {}
    for where, line in text_lines(path):
        word, *phones = _fields(line)
        if word and not phones:
            raise UserError(f"{where}: {word!r} has no phones")
        if phones and _PROBABILITY.fullmatch(phones[0]):
            raise UserError(
                f"{where}: {phones[0]!r} is no phone: give the dictionary without probabilities"
            )
        if word:
            words.setdefault(normalized(word.partition("(")[0]), tuple(phones))
    return words


def _fields(line: str) -> Sequence[str]:
    # cmudict writes comments behind ;;; or #.
    return line.partition(";;;")[0].partition("#")[0].split() or [""]
