"""How far transcripts are from their references: word and character error rates."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorRate:
    """Edits over all transcripts."""

    errors: int
    """Least insertions, deletions and substitutions."""
    count: int
    """Symbols of the references."""

    @property
    def rate(self) -> float:
        """Errors per symbol of the references; above 1 where much is inserted."""
        return self.errors / max(1, self.count)


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRate:
    """Compare words.

    >>> word_error_rate(["the cat sat"], ["the bat sat down"])
    ErrorRate(errors=2, count=3)
    """
    return _rate([text.split() for text in references], [text.split() for text in hypotheses])


def character_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRate:
    """Compare characters, spaces among them."""
    return _rate([list(text) for text in references], [list(text) for text in hypotheses])


def _rate(references: Sequence[list[str]], hypotheses: Sequence[list[str]]) -> ErrorRate:
    # Imported here: the package works without torchaudio.
    from torchaudio.functional import edit_distance

    pairs = zip(references, hypotheses, strict=True)
    errors = sum(edit_distance(reference, hypothesis) for reference, hypothesis in pairs)
    return ErrorRate(errors, sum(map(len, references)))
