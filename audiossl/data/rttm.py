"""Who speaks when: speaker turns in NIST's RTTM, as Kaldi's recipes for diarization keep them."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from audiossl.data.lines import seconds_of, text_lines, words_of
from audiossl.errors import UserError


class Turn(NamedTuple):
    """A stretch in which one speaker speaks."""

    speaker: str
    start: float
    """Seconds from the begin of the recording."""
    end: float
    where: str
    """File and line."""


def read_rttm(path: str | Path) -> dict[str, list[Turn]]:
    """Read the SPEAKER lines of an RTTM file; those of other types, and comments, are passed over.

    Source: NIST, "Rich Transcription 2009 Evaluation Plan", appendix A: type, file, channel, start,
    duration, orthography, subtype, speaker. The channel is not read: files are keys of wav.scp.

    Returns:
        Id of each recording to its turns.

    Raises:
        UserError: It cannot be read, or a line is of another form.
    """
    turns: dict[str, list[Turn]] = defaultdict(list)
    for where, line in text_lines(Path(path)):
        fields = words_of(line)
        if not fields or fields[0] != "SPEAKER":
            continue
        if len(fields) < 8:
            raise UserError(
                f"{where}: expected 'SPEAKER recording channel start duration <NA> <NA> speaker', "
                f"found {line!r}"
            )
        recording, speaker = fields[1], fields[7]
        start, duration = seconds_of(fields[3], where), seconds_of(fields[4], where)
        if start < 0 or duration <= 0 or "|" in speaker:
            raise UserError(
                f"{where}: {speaker!r} from {start} s, {duration} s long, is no turn: it "
                "begins at 0 s or later and lasts longer than 0 s, and its speaker has no '|'"
            )
        turns[recording].append(Turn(speaker, start, start + duration, where))
    return dict(turns)


def turns_label(turns: Sequence[Turn], start: float = 0.0, duration: float | None = None) -> str:
    """Write the turns of a stretch of a recording as a label, in seconds from its begin.

    Example:
        >>> turns = [Turn("ann", 0.5, 2.0, ""), Turn("bob", 1.5, 4.0, "")]
        >>> turns_label(turns, start=1.0, duration=2.0)
        '0-1 ann|0.5-2 bob'
    """
    end = float("inf") if duration is None else start + duration
    inside = [
        (max(turn.start, start) - start, min(turn.end, end) - start, turn.speaker)
        for turn in turns
        if turn.start < end and turn.end > start
    ]
    written = [(_milliseconds(a), _milliseconds(b), name) for a, b, name in sorted(inside)]
    return "|".join(f"{begin}-{end} {name}" for begin, end, name in written if begin != end)


def _milliseconds(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")
