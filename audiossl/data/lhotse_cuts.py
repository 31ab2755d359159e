"""Items from lhotse's own formats: cuts, recordings with supervisions, or a folder of Shar.

Manifests are read line by line. What cannot be a cut of one channel is an item with a problem, and
the others of its manifest are used; a damaged file is refused.
"""

import gzip
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lhotse import AudioSource, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item
from lhotse.shar.readers.tar import TarIterator

from audiossl.data.commands import command_output, not_allowed
from audiossl.data.items import SUPERVISION, Item, without_duplicates
from audiossl.data.lines import check_regular
from audiossl.errors import UserError

_BOOKKEEPING = ("shard_origin", "shar_epoch", "dataloading_info")
"""Fields that lhotse's readers add to cuts."""
_TOLERANCE = 0.01
"""Seconds by which cuts may exceed their recording: manifests round."""


def lhotse_items(
    manifest: str | Path,
    supervisions: str | Path | None = None,
    root: str | Path | None = None,
    *,
    allow_commands: bool = False,
) -> list[Item]:
    """List the cuts of a manifest (.jsonl, .jsonl.gz).

    Args:
        manifest: Cuts, or recordings.
        supervisions: Supervisions of the recordings; each becomes a cut.
        root: Where relative paths of recordings begin.
        allow_commands: Whether recordings may be shell commands, which are run when they are read.

    Raises:
        UserError: It cannot be read, is damaged, is another kind of manifest, or holds commands
            that are not allowed; names the line.
    """
    manifest = Path(manifest)
    supervisions = None if supervisions is None else Path(supervisions)
    root = None if root is None else Path(root)
    spoken = _by_recording(supervisions) if supervisions else None
    items = [_with_root(cut, root) for cut in _cuts(manifest, spoken)]
    for name, segments in (spoken or {}).items():
        problem = f"{supervisions}: recording {name!r} is not in {manifest}"
        items += [Item(str(segment.id), "", problem=problem) for segment in segments]
    return [_allowed(item, manifest, allow_commands) for item in without_duplicates(items)]


def shar_shards(folder: str | Path) -> list[Path]:
    """Find the cuts of a Shar folder, a file a shard."""
    folder = Path(folder)
    return sorted(folder.glob("cuts.*.jsonl*"))


def shar_items(cuts: str | Path, *, allow_commands: bool = False) -> Iterator[Item]:
    """Read one Shar shard, audio included, in order.

    Args:
        cuts: Its file of cuts; the recordings lie beside it.
        allow_commands: Whether recordings may be shell commands.

    Raises:
        UserError: There are no recordings, or the cuts are damaged.
    """
    cuts = Path(cuts)
    shard = cuts.name.split(".")[1]
    tar = cuts.with_name(f"recording.{shard}.tar")
    if not tar.exists():
        raise UserError(f"{tar}: missing; the shard has cuts and no recordings")
    check_regular(tar)
    values = _tar_values(tar)
    for _, cut in _entries(cuts):
        name, recording = next(values, ("", None))
        item = cut_item(_filled(cut, recording), memory=recording is not None)
        if name != cut.id:
            fault = f"holds {name!r} where {cut.id!r} is expected" if name else "ends too early"
            item = replace(item, problem=f"{tar}: {fault}: copy or write the shard again")
        yield _allowed(item, cuts, allow_commands)
    for name, _ in values:
        yield Item(name, "", problem=f"{cuts}: has no cut for {name!r} of {tar}: copy it again")


def cut_item(cut: Any, *, memory: bool = False) -> Item:
    """Describe a lhotse cut; one that cannot be used has a problem.

    Labels are those of its supervisions, in the order of time: texts one after another, other
    values, where they differ, with "|" between them.

    Args:
        cut: Of one channel of one recording.
        memory: Keep the cut itself, whose audio is in memory, rather than its description.
    """
    problem = _problem(cut)
    if problem:
        return Item(str(cut.id), "", problem=f"cut {cut.id} {problem}")
    source = cut.recording.sources[0]
    return Item(
        str(cut.id),
        source.source if source.type in ("file", "url", "command") else str(cut.id),
        str(cut.recording_id),
        labels=_labels(cut),
        cut={"cut": cut} if memory else cut.to_dict(),
        command=any(source.type == "command" for source in cut.recording.sources),
    )


def load_cut(item: Item) -> tuple[Any, int]:
    """Decode the audio of an item that is a lhotse cut.

    Returns:
        Samples (channels, samples) at the cut's own rate, and that rate in Hz.

    Raises:
        Skip: A command failed.
    """
    assert item.cut is not None
    cut: Any = item.cut.get("cut") or deserialize_item(dict(item.cut))
    for number, source in enumerate(cut.recording.sources):
        if source.type == "command":
            # Not by lhotse, whose commands have neither an empty input nor a limit.
            with command_output(source.source, item.id) as path:
                content = path.read_bytes()
            cut.recording.sources[number] = AudioSource("memory", source.channels, content)
    return cut.load_audio(), cut.sampling_rate


def _cuts(manifest: Path, spoken: dict[str, list[SupervisionSegment]] | None) -> Iterator[Any]:
    """Yield cuts as they are, and recordings as cuts; takes their supervisions out of `spoken`."""
    for number, (where, entry) in enumerate(_entries(manifest)):
        if isinstance(entry, Recording):
            if spoken is None:
                yield _whole(entry, f"{entry.id}-{number}")
            else:
                yield from (_spoken(entry, segment) for segment in spoken.pop(entry.id, []))
        elif not isinstance(entry, Cut):
            raise UserError(f"{where}: a {type(entry).__name__}; expected cuts or recordings")
        elif spoken is not None:
            raise UserError(f"{where}: a cut; supervisions are for manifests of recordings")
        else:
            yield entry


def _whole(recording: Recording, name: str) -> Any:
    kind, channel = _kind(recording.channel_ids or [0])
    return kind(name, 0.0, recording.duration, channel, recording=recording)


def _spoken(recording: Recording, segment: SupervisionSegment) -> Any:
    """Make a cut of what a supervision is of."""
    channels = segment.channel if isinstance(segment.channel, list) else [segment.channel]
    # Of a recording that has but one, supervisions often do not say which.
    kind, channel = _kind(recording.channel_ids if recording.num_channels == 1 else channels)
    inside = segment.with_offset(-segment.start)
    return kind(segment.id, segment.start, segment.duration, channel, [inside], recording=recording)


def _kind(channels: list[int]) -> tuple[Any, Any]:
    return (MonoCut, channels[0]) if len(channels) == 1 else (MultiCut, channels)


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Read a manifest line by line.

    Yields:
        Where an entry is, for messages, and the entry: a cut, a recording, a supervision, ...
    """
    check_regular(path)
    where = str(path)
    try:
        with path.open("rb") as plain:
            compressed = plain.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                where = f"{path}, line {number}"
                if line.strip():
                    yield where, _entry(line)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{where}: damaged or truncated ({error}): copy it again") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{where}: no entry of a manifest of lhotse ({error}): expected .jsonl or .jsonl.gz, "
            "an entry a line"
        ) from error


def _entry(line: bytes) -> Any:
    content = json.loads(line)
    if not isinstance(content, dict):
        raise TypeError(f"{type(content).__name__} instead of an object")
    return deserialize_item(content)


def _by_recording(path: Path) -> dict[str, list[SupervisionSegment]]:
    segments = defaultdict(list)
    for where, entry in _entries(path):
        if not isinstance(entry, SupervisionSegment):
            raise UserError(f"{where}: a {type(entry).__name__}; expected supervisions")
        segments[entry.recording_id].append(entry)
    return dict(segments)


def _with_root(cut: Any, root: Path | None) -> Item:
    rooted = root is not None and not _problem(cut)
    return cut_item(cut.with_recording_path_prefix(root) if rooted else cut)


def _allowed(item: Item, manifest: Path, allow_commands: bool) -> Item:
    if item.command and not allow_commands:
        raise not_allowed(f"{manifest}, cut {item.id}", item.source)
    return item


def _tar_values(tar: Path) -> Iterator[tuple[str, Recording | None]]:
    """Read the recordings of a tar as far as it is whole; its end may come too early."""
    try:
        for recording, name in TarIterator(tar):
            yield str(name.parent / name.stem), recording
    except Exception:
        # lhotse has no exception of its own: whatever the readers behind it raise comes through.
        return


def _filled(cut: Any, recording: Recording | None) -> Any:
    if recording is not None:
        cut.recording = recording
    return cut


def _problem(cut: Any) -> str:
    """Say why a cut cannot be used; empty if it can."""
    if isinstance(cut, MultiCut):
        return (
            f"has channels {cut.channel}: split it into a cut a channel (cut.to_mono()), or take "
            "one of its channels"
        )
    if not isinstance(cut, MonoCut):
        return (
            f"is a {type(cut).__name__}; expected MonoCut: store mixed and padded cuts as "
            "recordings first (CutSet.save_audios)"
        )
    if cut.recording is None or not cut.recording.sources:
        return "has no recording: give its manifest to lhotse's `CutSet.from_manifests` first"
    times = (cut.start, cut.duration, cut.recording.duration)
    if not all(isinstance(time, (int, float)) and math.isfinite(time) for time in times):
        return f"has times that are no numbers: {times}"
    if cut.start < 0 or cut.duration <= 0 or cut.end > cut.recording.duration + _TOLERANCE:
        return (
            f"is from {cut.start} to {cut.end} s of a recording of {cut.recording.duration} s: "
            "correct the manifest"
        )
    return ""


def _labels(cut: MonoCut) -> dict[str, str]:
    values: dict[str, dict[str, None]] = defaultdict(dict)
    spoken = sorted(cut.supervisions, key=lambda supervision: supervision.start)
    for supervision in spoken:
        for name in SUPERVISION:
            if name != "text" and getattr(supervision, name):
                values[name][str(getattr(supervision, name))] = None
        for name, value in _strings(supervision.custom).items():
            values[name][value] = None
    labels = {name: "|".join(different) for name, different in values.items()}
    text = " ".join(str(supervision.text) for supervision in spoken if supervision.text)
    return labels | ({"text": text} if text else {}) | _strings(cut.custom)


def _strings(custom: Mapping[str, Any] | None) -> dict[str, str]:
    return {
        name: str(value)
        for name, value in (custom or {}).items()
        if isinstance(value, (str, int, float, bool)) and name not in _BOOKKEEPING
    }
