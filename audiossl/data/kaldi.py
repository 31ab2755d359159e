"""Items from a Kaldi data directory: wav.scp, and segments, text, utt2spk, spk2gender, utt2lang.

Commands in wav.scp ("sox ... |") are run when the recording is read, as Kaldi runs them.
"""

from collections.abc import Callable
from pathlib import Path

from audiossl.data.items import Item, without_duplicates
from audiossl.errors import UserError


def kaldi_items(folder: Path) -> list[Item]:
    """List the utterances of a Kaldi data directory.

    Raises:
        UserError: wav.scp is missing or empty, a line has too few fields, a segment is of an
            unknown recording, or its times make no sense; names file and line.
    """
    recordings = _table(folder / "wav.scp", required=True)
    if not recordings:
        raise UserError(f"{folder / 'wav.scp'}: empty")
    channels = _table(folder / "reco2file_and_channel")
    text, speakers = _table(folder / "text"), _table(folder / "utt2spk")
    genders, languages = _table(folder / "spk2gender"), _table(folder / "utt2lang")

    def labels(utterance: str) -> dict[str, str]:
        speaker = speakers.get(utterance, "")
        found = {
            "speaker": speaker,
            "text": text.get(utterance, ""),
            "gender": genders.get(speaker, ""),
            "language": languages.get(utterance, ""),
        }
        return {name: value for name, value in found.items() if value}

    def item(utterance: str, recording: str, start: float, duration: float | None) -> Item:
        return Item(
            utterance,
            recordings[recording],
            recording,
            start,
            duration,
            _channel(channels.get(recording)),
            labels(utterance),
        )

    if not (folder / "segments").exists():
        return without_duplicates(item(name, name, 0.0, None) for name in recordings)
    return without_duplicates(_segments(folder / "segments", recordings, item))


def _segments(
    path: Path,
    recordings: dict[str, str],
    item: Callable[[str, str, float, float | None], Item],
) -> list[Item]:
    result = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        where = f"{path}, line {number}"
        if len(fields) < 4:
            raise UserError(f"{where}: expected '<utterance> <recording> <start> <end>': {line!r}")
        utterance, recording = fields[:2]
        if recording not in recordings:
            raise UserError(f"{where}: recording {recording!r} is not in wav.scp")
        start, end = _seconds(fields[2], where), _seconds(fields[3], where)
        # An end of -1 is Kaldi's way of saying "to the end".
        if end != -1 and not 0 <= start < end:
            raise UserError(f"{where}: from {start} s to {end} s is no segment")
        result.append(item(utterance, recording, start, None if end == -1 else end - start))
    return result


def _table(path: Path, *, required: bool = False) -> dict[str, str]:
    """Read "key rest of the line" lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        if required:
            raise UserError(f"{path}: missing; a Kaldi data directory has one") from error
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    result: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        key, _, value = line.strip().partition(" ")
        if not key:
            raise UserError(f"{path}, line {number}: empty line")
        if key in result:
            raise UserError(f"{path}, line {number}: {key!r} stands there a second time")
        result[key] = value.strip()
    return result


def _channel(entry: str | None) -> int | None:
    # "<file> A" and "<file> B" are Kaldi's names of the first and the second channel.
    if entry is None:
        return None
    return {"A": 0, "B": 1}.get(entry.split()[-1])


def _seconds(word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise UserError(f"{where}: {word!r} is no time in seconds") from error
