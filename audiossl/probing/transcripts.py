"""How far transcripts are from what was said: word and character error rates."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorRate:
    """Edits over all transcripts."""

    errors: int
    """Least insertions, deletions and substitutions."""
    count: int
    """Symbols that were said."""

    @property
    def rate(self) -> float:
        """Errors a symbol; above 1 where much is inserted."""
        return self.errors / max(1, self.count)


def word_error_rate(said: Sequence[str], found: Sequence[str]) -> ErrorRate:
    """Compare words."""
    return _rate([text.split() for text in said], [text.split() for text in found])


def character_error_rate(said: Sequence[str], found: Sequence[str]) -> ErrorRate:
    """Compare characters, spaces among them."""
    return _rate([list(text) for text in said], [list(text) for text in found])


def edit_distance(said: Sequence[str], found: Sequence[str]) -> int:
    """Count the least insertions, deletions and substitutions that make one the other."""
    row = list(range(len(found) + 1))
    for index, symbol in enumerate(said, start=1):
        before, row[0] = row[0], index
        for place, other in enumerate(found, start=1):
            cost = min(row[place] + 1, row[place - 1] + 1, before + (symbol != other))
            before, row[place] = row[place], cost
    return row[-1]


def _rate(said: Sequence[list[str]], found: Sequence[list[str]]) -> ErrorRate:
    errors = sum(edit_distance(one, other) for one, other in zip(said, found, strict=True))
    return ErrorRate(errors, sum(map(len, said)))
