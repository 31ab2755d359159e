"""When each word is said: alignments in the field's CTM format."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from audiossl.errors import UserError


class AlignedWord(NamedTuple):
    """A word of a recording."""

    word: str
    start: float
    """Seconds."""
    end: float


def read_ctm(path: Path) -> dict[str, list[AlignedWord]]:
    """Read a CTM file: recording, channel, start, duration and word a line; `;;` begins a comment.

    Returns:
        Id of each recording to its words.

    Raises:
        UserError: It cannot be read, or a line is of another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as an alignment ({error})") from error
    words: dict[str, list[AlignedWord]] = defaultdict(list)
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        try:
            recording, _, start, duration, word = fields[:5]
            begin, length = float(start), float(duration)
        except ValueError as error:
            raise UserError(
                f"{path}, line {number}: expected 'recording channel start duration word', found "
                f"{line!r}"
            ) from error
        words[recording].append(AlignedWord(word, begin, begin + length))
    return dict(words)
