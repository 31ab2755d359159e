"""Task folders of HEAR 2021, as hear-preprocess writes them and Zenodo holds them.

A folder has `task_metadata.json`, `labelvocabulary.csv`, a table of labels for each split
(`train.json`, `fold00.json`), and the audio in `<sample rate>/<split>/`. A scene has a list of
labels; events are timed, in milliseconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiossl.atomic_files import check_name, read_object, reading
from audiossl.data.items import Item
from audiossl.errors import UserError

_SCORES = {
    "top1_acc": "accuracy",
    "pitch_acc": "accuracy",
    "chroma_acc": "chroma_accuracy",
    "mAP": "pr_auc",
    "aucroc": "roc_auc",
    "d_prime": "mean_d_prime",
    "event_onset_200ms_fms": "event_onset_200ms",
    "event_onset_50ms_fms": "event_onset_50ms",
    "event_onset_offset_50ms_20perc_fms": "event_onset_offset_50ms",
    "segment_1s_er": "neg_segment_error",
}
"""HEAR's names of scores, and ours."""


@dataclass(frozen=True)
class HearTask:
    """A task folder."""

    folder: Path
    name: str
    version: str
    events: bool
    """Whether labels are timed."""
    kind: str
    """Number of classes of an item: "single" or "multi"."""
    splits: tuple[str, ...]
    folds: bool
    scores: tuple[str, ...]
    """Names of the scores, HEAR's own, the primary one first."""
    decoding: Mapping[str, Sequence[float]]
    """Lengths of the median filter and shortest events to choose from, in ms, where they are not
    HEAR's usual ones."""


def read_hear_task(folder: str | Path) -> HearTask:
    """Read what a task folder says of itself.

    Raises:
        UserError: It is none, a split is missing, or its task is of an unknown kind.
    """
    folder = Path(folder)
    path = folder / "task_metadata.json"
    if not path.is_file():
        raise UserError(f"{folder}: no task folder of HEAR: there is no {path.name} in it")
    facts = read_object(
        path, task_name=str, version=str, embedding_type=str, prediction_type=str, split_mode=str,
        evaluation=list,
    )  # fmt: skip
    kinds = {"multiclass": "single", "multilabel": "multi"}
    if facts["prediction_type"] not in kinds or facts["embedding_type"] not in ("scene", "event"):
        found = f"{facts['embedding_type']} {facts['prediction_type']}"
        raise UserError(f"{path}: {found}: expected scene or event, multiclass or multilabel")
    folds = "kfold" in facts["split_mode"]
    with reading(path, "metadata of a task of HEAR"):
        grid = facts.get("evaluation_params", {}).get("event_postprocessing_grid", {})
        decoding = {name: [*map(float, grid[name])] for name in _DECODING if name in grid}
        splits = tuple(facts.get("splits") or _splits(folder, folds))
        for split in splits:
            check_name(split, "split")
    for split in splits:
        if not (folder / f"{split}.json").is_file():
            raise UserError(f"{folder}: split {split!r} is missing: there is no {split}.json")
    return HearTask(
        folder, facts["task_name"], facts["version"], facts["embedding_type"] == "event",
        kinds[facts["prediction_type"]], splits, folds, tuple(facts["evaluation"]), decoding,
    )  # fmt: skip


def hear_items(task: HearTask) -> list[Item]:
    """List the audio of a task, labeled with its `split`, and its `label` or `events`.

    Audio at 16 kHz is taken where it is there, or else at the lowest of the higher rates.

    Raises:
        UserError: There is no audio at such a rate, or a table of labels is no such.
    """
    audio = task.folder / str(_rate(task.folder))
    return [item for split in task.splits for item in _items(task, audio, split)]


def task_settings(task: HearTask) -> dict[str, Any]:
    """Write the task as `recipes.probe.fit` takes it.

    Raises:
        UserError: Its scores are unknown.
    """
    known = [_SCORES[name] for name in task.scores if name in _SCORES]
    if not known:
        raise UserError(
            f"{task.folder}: unknown scores {', '.join(task.scores)} (known: {', '.join(_SCORES)})"
        )
    settings: dict[str, Any] = {
        "name": task.name,
        "label": "events" if task.events else "label",
        "kind": "events" if task.events else task.kind,
        "metric": known[0],
        "also": known[1:],
        "group": "id",
    }
    if task.events:
        settings["unlabeled"] = "negative"
        settings |= {_DECODING[name]: values for name, values in task.decoding.items()}
    return settings | ({"folds": list(task.splits)} if task.folds else {})


_DECODING = {"median_filter_ms": "medians_ms", "min_duration": "shortest_ms"}


def _splits(folder: Path, folds: bool) -> list[str]:
    if not folds:
        return ["train", "valid", "test"]
    return sorted(path.stem for path in folder.glob("fold*.json"))


def _rate(folder: Path) -> int:
    names = (path.name for path in folder.iterdir() if path.is_dir())
    rates = sorted(int(name) for name in names if name.isdigit())
    if not (usable := [rate for rate in rates if rate >= 16_000]):
        raise UserError(
            f"{folder}: no folder of audio at 16000 Hz or more (there is "
            f"{', '.join(map(str, rates)) or 'none'})"
        )
    return usable[0]


def _items(task: HearTask, audio: Path, split: str) -> Iterator[Item]:
    path = task.folder / f"{split}.json"
    with reading(path, "a table of labels of HEAR"):
        for name, labels in sorted(read_object(path).items()):
            value = _events(labels) if task.events else "|".join(map(_plain, labels))
            known = {"split": split, "events" if task.events else "label": value}
            yield Item(f"{split}/{name}", str(audio / split / name), labels=known)


def _events(events: list[dict[str, Any]]) -> str:
    return "|".join(
        f"{event['start'] / 1000:g}-{event['end'] / 1000:g} {_plain(event['label'])}"
        for event in events
    )


def _plain(label: object) -> str:
    """Write a label without the sign that stands between labels."""
    return str(label).replace("|", "/")
