"""When each word is said: alignments in the field's CTM format."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from audiossl.data.lines import seconds_of, text_lines, words_of
from audiossl.errors import UserError


class AlignedWord(NamedTuple):
    """A word of a recording."""

    word: str
    start: float
    """Seconds."""
    end: float


def read_ctm(path: str | Path) -> dict[str, list[AlignedWord]]:
    """Read a CTM file: recording, channel, start, duration and word a line; `;;` begins a comment.

    Returns:
        Id of each recording to its words.

    Raises:
        UserError: It cannot be read, or a line is of another form.
    """
    path = Path(path)
    words: dict[str, list[AlignedWord]] = defaultdict(list)
    for where, line in text_lines(path):
        fields = words_of(line)
        if not fields or fields[0].startswith(";;"):
            continue
        if len(fields) < 5:
            raise UserError(
                f"{where}: expected 'recording channel start duration word', found {line!r}"
            )
        recording, _, start, duration, word = fields[:5]
        begin, length = seconds_of(start, where), seconds_of(duration, where)
        if begin < 0 or length < 0:
            raise UserError(f"{where}: {word!r} from {begin} s, {length} s long, is nowhere")
        words[recording].append(AlignedWord(word, begin, begin + length))
    return dict(words)
