"""What a corpus holds, whatever form it has: hours, rates, durations, label counts.

Only headers and tables are read; nothing is decoded, and no command of a wav.scp is run.
"""

import glob
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audiossl.audio.files import audio_info
from audiossl.audio.listing import holds, is_audio, list_files
from audiossl.data.corpus import Corpus
from audiossl.data.folder import folder_items, stem_files
from audiossl.data.items import Item, check_usable
from audiossl.data.kaldi import kaldi_items
from audiossl.data.lhotse_cuts import lhotse_items, shar_shards
from audiossl.errors import Skip, UserError

AnyPath = str | Path
_SEGMENT = re.compile(r"[\d.]+-[\d.]+ (.+)")
_NO_LABELS = ("id", "path", "recording", "duration", "native_rate", "native_channels", "gain")


@dataclass
class Description:
    """Figures of a corpus."""

    kind: str
    """Kind of input: "folder of audio", "Kaldi data directory", ..."""
    durations: list[float] = field(default_factory=list)
    """Seconds, of the cuts whose duration is known."""
    unknown: int = 0
    """Cuts whose duration only decoding would tell."""
    rates: Counter[str] = field(default_factory=Counter)
    """Native sample rates, Hz."""
    channels: Counter[str] = field(default_factory=Counter)
    """Native channels."""
    formats: Counter[str] = field(default_factory=Counter)
    """Containers and encodings, where files were looked at."""
    labels: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Values of each label; of "bass|drums", each."""
    stems: Counter[str] = field(default_factory=Counter)
    """Cuts that have each stem."""
    unusable: list[dict[str, str]] = field(default_factory=list)
    """{"id", "reason"} of what cannot be read."""

    @property
    def num_cuts(self) -> int:
        """Cuts that can be used."""
        return len(self.durations) + self.unknown


def describe(
    path: AnyPath | Iterable[AnyPath],
    tables: AnyPath | Sequence[AnyPath] = (),
    *,
    only_labeled: bool = False,
) -> Description:
    """Describe a prepared corpus, a Kaldi data directory, a manifest, or audio.

    >>> describe("egs/mini/data", "egs/mini/data/sounds.csv", only_labeled=True).kind
    'folder of audio'

    Args:
        path: What to describe: the output of a prepare stage, a Kaldi data directory, a manifest of
            lhotse or a folder of Shar, a folder of audio; or audio files, patterns
            ("clips/**/*.wav"), and several of all that names audio.
        tables: Tables of labels, for a folder of audio.
        only_labeled: Leave out what no table names, as `recipes.prepare.folder` may.

    Raises:
        UserError: It is none of these.
    """
    if not isinstance(path, (str, Path)):
        return _audio(list_files(path))
    given = [tables] if isinstance(tables, (str, Path)) else tables
    return _described(Path(path).expanduser(), [Path(table) for table in given], only_labeled)


def _described(path: Path, tables: Sequence[Path], only_labeled: bool) -> Description:
    if (path / "corpus.json").exists():
        return _prepared(Corpus(path))
    if (path / "wav.scp").exists():
        return _items("Kaldi data directory", kaldi_items(path, allow_commands=True))
    if path.is_dir() and (shards := shar_shards(path)):
        items = (item for shard in shards for item in lhotse_items(shard, allow_commands=True))
        return _items("folder of Shar", items)
    if path.is_dir():
        return _items("folder of audio", folder_items(path, tables, only_labeled=only_labeled))
    if glob.has_magic(str(path)) or (path.is_file() and is_audio(path)):
        return _audio(list_files(path))
    if path.is_file():
        return _items("manifest of lhotse", lhotse_items(path, allow_commands=True))
    raise UserError(
        f"{path}: no such file or folder; give a folder of audio, a Kaldi data directory, a "
        "manifest of lhotse, or the output of a prepare stage"
    )


def _audio(files: Sequence[Path]) -> Description:
    return _items("audio files", (Item(str(file), str(file)) for file in files))


def _prepared(corpus: Corpus) -> Description:
    result = Description("prepared corpus")
    for labels in corpus.labels():
        result.durations.append(float(labels["duration"]))
        result.rates[labels.get("native_rate", "unknown")] += 1
        result.channels[labels.get("native_channels", "unknown")] += 1
        _count(result.labels, labels)
    for name in corpus.stems:
        result.stems[name] = int(corpus.fields[name].present.sum())
    return result


def _items(kind: str, items: Iterable[Item]) -> Description:
    result = Description(kind)
    for item in items:
        try:
            check_usable(item)
            _item(result, item)
        except Skip as reason:
            result.unusable.append({"id": item.id, "reason": str(reason)})
            continue
        _count(result.labels, item.labels)
    return result


def _item(result: Description, item: Item) -> None:
    if item.cut is not None:
        _cut(result, item.cut)
    elif item.command:
        _known(result, item.duration)
        result.rates["unknown (a command)"] += 1
    else:
        _file(result, item)


def _cut(result: Description, cut: Mapping[str, object]) -> None:
    result.durations.append(float(str(cut["duration"])))
    recording = cut.get("recording")
    assert isinstance(recording, Mapping)
    result.rates[str(recording["sampling_rate"])] += 1
    result.channels[str(len(recording.get("channel_ids") or [0]))] += 1


def _file(result: Description, item: Item) -> None:
    path = Path(item.source)
    files = list(stem_files(path).values()) if holds(path.is_dir) else [path]
    if not files:
        raise Skip(f"{path}: a recording as a folder, but no audio files in it")
    infos = [audio_info(file) for file in files]
    _known(result, infos[0].duration - item.start if item.duration is None else item.duration)
    result.rates[str(infos[0].sample_rate)] += 1
    result.channels[str(infos[0].num_channels)] += 1
    result.formats[f"{infos[0].container} {infos[0].encoding}"] += 1
    if holds(path.is_dir):
        result.stems.update(file.stem for file in files)


def _known(result: Description, duration: float | None) -> None:
    if duration is None:
        result.unknown += 1
    else:
        result.durations.append(duration)


def _count(labels: dict[str, Counter[str]], labels_of_cut: Mapping[str, str]) -> None:
    for name, value in labels_of_cut.items():
        if name not in _NO_LABELS:
            labels[name].update(_values(value))


def _values(value: str) -> Iterator[str]:
    """Name the values of a label; of timed segments, their classes."""
    for part in filter(None, value.split("|")):
        timed = _SEGMENT.fullmatch(part)
        yield timed[1] if timed else part
