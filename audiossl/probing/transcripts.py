"""How far transcripts are from their references: error rates, and slots that were filled."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorRate:
    """Edits over all transcripts."""

    errors: float | int
    """Least insertions, deletions and substitutions."""
    count: float | int
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


def unit_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRate:
    """Compare units that spaces part, such as phones."""
    return word_error_rate(references, hypotheses)


def slot_type_f1(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRate:
    """Sum over texts the F1 score of which slots they fill, and the number of texts.

    Slots are written as SUPERB has them: "play B-song yesterday E-song". The score of a text is 1
    where neither has a slot.

    >>> slot_type_f1(["B-song yes E-song"], ["B-song no E-song B-year 9 E-year"]).rate
    0.6666666666666666
    """
    total = 0.0
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        true, found = set(slots_of(reference)), set(slots_of(hypothesis))
        total += 2 * len(true & found) / (len(true) + len(found)) if true or found else 1.0
    return ErrorRate(total, len(references))


def slot_value_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> ErrorRate:
    """Compare the characters of each slot's value with the closest of that slot, or with nothing.

    >>> slot_value_error_rate(["B-song yes E-song"], ["B-song yet E-song"])
    ErrorRate(errors=1, count=3)
    """
    errors: float | int = 0
    count = 0
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        found = slots_of(hypothesis)
        for slot, values in slots_of(reference).items():
            for value in values:
                rates = [character_error_rate([value], [one]) for one in found.get(slot, [""])]
                errors += min(rate.errors for rate in rates)
                count += len(value)
    return ErrorRate(errors, count)


def slots_of(text: str) -> dict[str, list[str]]:
    """Find the values of slots in a text.

    >>> slots_of("play B-song let it be E-song")
    {'song': ['let it be']}
    """
    found: dict[str, list[str]] = {}
    for slot, value in re.findall(r"B-(\S+) +(.*?) *E-\1(?!\S)", text):
        found.setdefault(slot, []).append(value)
    return found


def _rate(references: Sequence[list[str]], hypotheses: Sequence[list[str]]) -> ErrorRate:
    # Imported here: the package works without torchaudio.
    from torchaudio.functional import edit_distance

    pairs = zip(references, hypotheses, strict=True)
    errors = sum(edit_distance(reference, hypothesis) for reference, hypothesis in pairs)
    return ErrorRate(errors, sum(map(len, references)))
