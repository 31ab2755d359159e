"""Items from a Kaldi data directory: wav.scp, segments, text, utt2spk, spk2gender, utt2lang, rttm.

Any ASCII white space separates, as in Kaldi. What a file says of utterances or recordings that do
not exist becomes items with a problem: they are counted and named, and many of them are an error.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from audiossl.data.commands import not_allowed
from audiossl.data.items import Item, without_duplicates
from audiossl.data.lines import SPACES, seconds_of, text_lines, words_of
from audiossl.data.rttm import Turn, read_rttm, turns_label
from audiossl.errors import UserError

_CHANNELS = {"A": 0, "B": 1, "1": 0, "2": 1}
"""Kaldi's names of the first and the second channel, and those of NIST."""


@dataclass(frozen=True)
class _Entry:
    value: str
    where: str


_Table = Mapping[str, _Entry]


def kaldi_items(folder: str | Path, *, allow_commands: bool = False) -> list[Item]:
    """List the utterances of a Kaldi data directory.

    Speaker turns in rttm become the label `turns`: "0-1.2 ann|0.9-2 bob", in seconds from the begin
    of the utterance.

    Args:
        folder: Holds wav.scp.
        allow_commands: Whether recordings may be commands ("sox ... |"), which are run when they
            are read.

    Raises:
        UserError: wav.scp is missing or empty, or holds commands that are not allowed; a line has
            too few fields or is not UTF-8; the times of a segment make no sense. Names file and
            line.
    """
    folder = Path(folder)
    recordings = _recordings(folder, allow_commands)
    if (folder / "segments").exists():
        items = list(_segments(folder / "segments", recordings))
    else:
        items = list(recordings.values())
    tables = {
        "text": _table(folder / "text", may_be_empty=True),
        "speaker": _table(folder / "utt2spk"),
        "language": _table(folder / "utt2lang"),
    }
    genders = _table(folder / "spk2gender")
    turns = read_rttm(folder / "rttm") if (folder / "rttm").exists() else {}
    labeled = [
        replace(item, labels=_labels(item.id, tables, genders) | _turns(item, turns))
        for item in items
    ]
    unmatched = _unmatched({item.id for item in items}, tables)
    return without_duplicates([*labeled, *unmatched, *_without_audio(turns, recordings)])


def _recordings(folder: Path, allow_commands: bool) -> dict[str, Item]:
    """Read wav.scp and the channels; each recording as one utterance."""
    recordings = _table(folder / "wav.scp", required=True)
    if not recordings:
        raise UserError(f"{folder / 'wav.scp'}: empty")
    channels = _table(folder / "reco2file_and_channel")
    items = {}
    for name, entry in recordings.items():
        command = entry.value.endswith("|")
        source = entry.value.removesuffix("|").strip()
        if command and not allow_commands:
            raise not_allowed(entry.where, source)
        channel = _channel(channels[name]) if name in channels else None
        items[name] = Item(name, source, name, channel=channel, command=command)
    return items


def _segments(path: Path, recordings: Mapping[str, Item]) -> Iterator[Item]:
    for where, line in text_lines(path):
        fields = words_of(line)
        if len(fields) not in (4, 5):
            raise UserError(f"{where}: expected '<utterance> <recording> <start> <end>': {line!r}")
        utterance, name = fields[:2]
        start, end = seconds_of(fields[2], where), seconds_of(fields[3], where)
        # An end of -1 is Kaldi's way of saying "to the end".
        if start < 0 or (end <= start and end != -1):
            raise UserError(f"{where}: from {start} s to {end} s is no segment")
        duration = None if end == -1 else end - start
        if name not in recordings:
            problem = f"{where}: recording {name!r} is not in wav.scp"
            yield Item(utterance, name, name, start, duration, problem=problem)
            continue
        whole = recordings[name]
        channel = whole.channel if len(fields) == 4 else _channel(_Entry(fields[4], where))
        yield replace(whole, id=utterance, start=start, duration=duration, channel=channel)


def _labels(utterance: str, tables: Mapping[str, _Table], genders: _Table) -> dict[str, str]:
    labels = {name: table[utterance].value for name, table in tables.items() if utterance in table}
    if labels.get("speaker") in genders:
        labels["gender"] = genders[labels["speaker"]].value
    return {name: value for name, value in labels.items() if value}


def _turns(item: Item, turns: Mapping[str, Sequence[Turn]]) -> dict[str, str]:
    """Label an utterance by the speaker turns of its recording that reach into it."""
    label = turns_label(turns.get(item.recording or "", ()), item.start, item.duration)
    return {"turns": label} if label else {}


def _without_audio(
    turns: Mapping[str, Sequence[Turn]], recordings: Mapping[str, Item]
) -> Iterator[Item]:
    """Make an item with a problem of every recording that only rttm names."""
    for name in turns:
        if name not in recordings:
            where = turns[name][0].where
            yield Item(name, "", problem=f"{where}: recording {name!r} is not in wav.scp")


def _unmatched(utterances: set[str], tables: Mapping[str, _Table]) -> Iterator[Item]:
    """Make an item with a problem of every utterance that appears in labels only."""
    seen: set[str] = set(utterances)
    for table in tables.values():
        for name, entry in table.items():
            if name not in seen:
                seen.add(name)
                problem = f"{entry.where}: there is no audio of utterance {name!r}: {_MEND}"
                yield Item(name, "", problem=problem)


_MEND = "make the keys of all files the same (utils/fix_data_dir.sh)"


def _table(path: Path, *, required: bool = False, may_be_empty: bool = False) -> _Table:
    """Read "key rest of the line" lines."""
    if not path.exists():
        if required:
            raise UserError(f"{path}: missing; a Kaldi data directory has one")
        return {}
    result: dict[str, _Entry] = {}
    for where, line in text_lines(path):
        words = words_of(line)
        if not words:
            raise UserError(f"{where}: empty line")
        key = words[0]
        value = line.strip(SPACES)[len(key) :].strip(SPACES)
        if not value and not may_be_empty:
            raise UserError(f"{where}: {key!r} has no value")
        if key in result:
            raise UserError(f"{where}: {key!r} stands there a second time")
        result[key] = _Entry(value, where)
    return result


def _channel(entry: _Entry) -> int:
    name = words_of(entry.value)[-1]
    if name not in _CHANNELS:
        raise UserError(f"{entry.where}: {name!r} is no channel: expected {', '.join(_CHANNELS)}")
    return _CHANNELS[name]
