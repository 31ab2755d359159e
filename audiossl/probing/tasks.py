"""Tasks: which labels of which cuts are learnt, chosen on, and scored; and what may not leak.

A task never sees audio: it is a table of targets over cuts of a corpus, in three splits.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Int, Shaped

from audiossl.configs import Nonnegative
from audiossl.data.selection import is_chosen
from audiossl.errors import UserError, did_you_mean
from audiossl.probing.metrics import METRICS, Targets, TaskKind, metric_of
from audiossl.probing.segments import Segment, parse_segments

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What is predicted from embeddings, and how it is scored."""

    name: str
    """Name in tables: letters, digits, "-" and "_"."""
    label: str
    """Label that is predicted."""
    kind: TaskKind = "single"
    """Target of an item: one class ("single"), any number of them ("multi": "bass|drums"), a number
    ("number": "0.73"), or timed events ("events": "0.51-0.6 dog|0.6-2 rain"), which are found in
    its frames."""
    metric: str = "accuracy"
    """Score that settings are chosen and tables reported by: accuracy, balanced_accuracy, pr_auc,
    roc_auc, d_prime (macro over classes), chroma_accuracy, key_score, neg_eer, neg_min_dcf; of
    numbers r2, pearson, neg_mse; of events event_onset_200ms, event_onset_50ms,
    event_onset_offset_50ms, neg_segment_error; or python:module:name of a metric of one's own."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Labels and their values of the cuts that take part; all cuts if empty."""
    merge: dict[str, str] = field(default_factory=dict)
    """Classes that are replaced by another: {asterisk_es: allison_smith}."""
    drop: tuple[str, ...] = ()
    """Classes that are left out: with their items, or for "multi" as tags."""
    unlabeled: Literal["skip", "negative"] = "skip"
    """Treatment of cuts without the label: not part of the task, or items that have no class
    ("multi")."""
    split: str = "split"
    """Label that names the split of a cut; cuts of other splits are left out."""
    train: tuple[str, ...] = ("train",)
    """Values of `split` for training."""
    valid: tuple[str, ...] = ("valid",)
    """Values of `split` for validation: probe settings are chosen on them. None: a tenth of the
    training groups is held out for it."""
    test: tuple[str, ...] = ("test",)
    """Values of `split` for the test, which is scored once."""
    folds: tuple[str, ...] = ()
    """Values of `split` that are tested in turn, instead of the three above: in round i fold i is
    the test and fold i + 1 the validation, and the others are training, as in HEAR. A score is
    the mean over rounds."""
    also: tuple[str, ...] = ()
    """Further metrics of its tables."""
    group: str = "recording"
    """Label of groups that must not be in two splits, and that the bootstrap draws: recording,
    song, speaker, session."""
    segments: bool = False
    """Whether items are the timed segments of a cut that the label holds ("0.51-0.60 e|0.60-0.76
    g")."""
    family: str = ""
    """Name of the tasks that it is averaged with where encoders are ranked over all; by default it
    stands for itself."""
    medians_ms: tuple[Nonnegative, ...] = (250.0,)
    """Lengths of the median filter of events to choose from, in milliseconds."""
    shortest_ms: tuple[Nonnegative, ...] = (125.0, 250.0)
    """Durations under which an event is dropped to choose from, in milliseconds."""
    stratify: bool = False
    """Whether the bootstrap draws groups within each class ("single"), so that rare classes are in
    every replicate."""
    note: str = ""
    """Sentence that reports print with the task: what it says, what can be expected."""

    def __post_init__(self) -> None:
        """Check what the values alone can tell.

        Raises:
            UserError: A value makes no sense.
        """
        if not self.name or not self.name.replace("-", "").replace("_", "").isalnum():
            raise UserError(f"task name {self.name!r}: use letters, digits, '-' and '_'")
        if self.folds and len(set(self.folds)) < max(3, len(self.folds)):
            raise UserError(
                f"task {self.name}: folds {', '.join(self.folds)}: name at least three different "
                "ones: one to score, one to choose on, the others to learn from"
            )
        unfit = self.kind not in metric_of(self.metric).kinds
        if self.kind in ("number", "events") and unfit:
            known = [name for name, metric in METRICS.items() if self.kind in metric.kinds]
            raise UserError(
                f"task {self.name}: metric {self.metric} is not of {self.kind}: choose "
                f"{', '.join(known)}"
            )
        if unfit or (self.kind != "single" and self.stratify):
            what = f"metric {self.metric}" if unfit else "stratify"
            fit = metric_of(self.metric).kinds
            needs = "one class an item" if "single" in fit or not unfit else f"kind: {fit[0]}"
            raise UserError(f"task {self.name}: {what} needs {needs}, but its kind is {self.kind}")
        if self.segments and self.kind != "single":
            raise UserError(
                f"task {self.name}: a segment has one class, but its kind is {self.kind}"
            )
        if self.kind in ("single", "number") and self.unlabeled == "negative":
            raise UserError(f"task {self.name}: unlabeled: negative is for kind multi")


@dataclass(frozen=True)
class Task:
    """Targets of a corpus' cuts."""

    config: TaskConfig
    classes: tuple[str, ...]
    """Sorted by name."""
    left_out: tuple[str, ...]
    """Classes of a "multi" task of which a split has no item, or nothing but items."""
    cuts: Int[np.ndarray, " items"]
    """Cuts of its items."""
    ids: tuple[str, ...]
    targets: Targets
    groups: Shaped[np.ndarray, " items"]
    splits: Shaped[np.ndarray, " items"]
    places: Int[np.ndarray, " items"] | None = None
    """Index of each item's segment in its cut, counted from 0; None: items are cuts."""
    folds: Int[np.ndarray, " items"] | None = None
    """Fold of each item, ascending, where all are tested in turn."""
    events: tuple[tuple[Segment, ...], ...] = ()
    """Events of each item, where they are what is found."""
    held_out: bool = False
    """Whether validation items were taken from training, as nothing says which they are."""
    valid_on: Split = "valid"
    """Split whose items are validated on: "test" in protocols that do."""

    def rows(self, split: Split) -> Int[np.ndarray, " rows"]:
        """Number the items of a split; of folds all, as each is in every split once."""
        if self.folds is not None:
            return np.arange(len(self.cuts))
        return np.flatnonzero(self.splits == (self.valid_on if split == "valid" else split))

    def rounds(self) -> "tuple[Task, ...]":
        """Give each fold its turn as the test; without folds there is one round, the task."""
        if self.folds is None:
            return (self,)
        count = len(self.config.folds)
        turns = []
        for test in range(count):
            valid = (test + 1) % count
            choices = [self.folds == test, self.folds == valid]
            splits = np.select(choices, ["test", "valid"], "train")
            turns.append(replace(self, splits=splits, folds=None, held_out=True))
        return tuple(turns)


def build_task(config: TaskConfig, cuts: Iterable[Mapping[str, str]]) -> Task:
    """Find the items of a task among cuts.

    Args:
        config: The task.
        cuts: Labels of each cut of a corpus, in order (`Corpus.labels`).

    Raises:
        UserError: No cut has the label, a split is empty, a class has nothing to learn from, or a
            group is in two splits.

    Example:
        >>> cuts = [
        ...     {"id": split + genre, "recording": split + genre, "genre": genre, "split": split}
        ...     for split in ("train", "valid", "test")
        ...     for genre in ("folk", "jazz")
        ... ]
        >>> task = build_task(TaskConfig(name="genre", label="genre"), cuts)
        >>> task.classes, task.targets.shape
        (('folk', 'jazz'), (6, 2))
    """
    items = _items(config, cuts)
    held_out = not (config.valid or config.folds)
    if held_out:
        items = _with_validation(items)
    if config.folds:
        items.sort(key=lambda item: config.folds.index(item.split))
    _check_splits(config, items)
    _check_groups(config, items)
    classes: tuple[str, ...] = (config.label,)
    left_out: tuple[str, ...] = ()
    targets: np.ndarray = np.array([[item.number] for item in items])
    if config.kind != "number":
        classes, left_out = _classes(config, items)
        column = {name: index for index, name in enumerate(classes)}
        targets = np.zeros((len(items), len(classes)), bool)
        for row, item in enumerate(items):
            targets[row, [column[name] for name in item.classes if name in column]] = True
    return Task(
        config=config,
        classes=classes,
        left_out=left_out,
        cuts=np.array([item.cut for item in items]),
        ids=tuple(item.id for item in items),
        targets=targets,
        groups=np.array([item.group for item in items]),
        splits=np.array([item.split for item in items]),
        places=np.array([item.place for item in items]) if config.segments else None,
        folds=(
            np.array([config.folds.index(item.split) for item in items]) if config.folds else None
        ),
        events=tuple(item.events for item in items) if config.kind == "events" else (),
        held_out=held_out,
    )


@dataclass(frozen=True)
class _Item:
    cut: int
    id: str
    classes: frozenset[str]
    group: str
    split: str
    """Split, or fold."""
    place: int = 0
    number: float = math.nan
    events: tuple[Segment, ...] = ()


def _parts(config: TaskConfig) -> dict[str, tuple[str, ...]]:
    """Name the splits or folds, and the values of the label that mean each."""
    if config.folds:
        return {fold: (fold,) for fold in config.folds}
    return {split: getattr(config, split) for split in SPLITS}


def _items(config: TaskConfig, cuts: Iterable[Mapping[str, str]]) -> list[_Item]:
    split_of = {value: part for part, values in _parts(config).items() for value in values}
    items: list[_Item] = []
    names: set[str] = set()
    for number, labels in enumerate(cuts):
        names.update(labels)
        split = split_of.get(labels.get(config.split, ""))
        asked = is_chosen(labels, config.where)
        value = labels.get(config.label)
        if split is None or not asked or (value is None and config.unlabeled == "skip"):
            continue
        group = labels.get(config.group)
        if group is None:
            raise UserError(
                f"task {config.name}: cut {labels['id']} has no label {config.group!r} to group by"
                f"{did_you_mean(config.group, names)}"
            )
        cut = _Item(number, labels["id"], frozenset(), group, split)
        items += _items_of(config, cut, value)
    for wanted in (config.label, config.split, *config.where):
        if wanted not in names:
            raise UserError(
                f"task {config.name}: no cut has a label {wanted!r}{did_you_mean(wanted, names)} "
                f"(there are {', '.join(sorted(names))})"
            )
    return items


def _items_of(config: TaskConfig, cut: _Item, value: str | None) -> list[_Item]:
    """List the items of a cut: itself, or its segments, if they have a class."""
    if config.kind == "number":
        return [replace(cut, number=_number(config, cut.id, value or ""))]
    if config.kind == "events":
        events = tuple(_events(config, parse_segments(value or "", cut.id)))
        return [replace(cut, events=events, classes=frozenset(event.name for event in events))]
    if not config.segments or value is None:
        classes = _classes_of(config, value)
        return [] if classes is None else [replace(cut, classes=classes)]
    return [
        replace(cut, id=f"{cut.id}@{segment.begin:g}", classes=classes, place=place)
        for place, segment in enumerate(parse_segments(value, cut.id))
        if (classes := _classes_of(config, segment.name)) is not None
    ]


def _events(config: TaskConfig, events: Iterable[Segment]) -> Iterator[Segment]:
    for event in events:
        name = config.merge.get(event.name, event.name)
        if name not in config.drop:
            yield replace(event, name=name)


def _number(config: TaskConfig, cut: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"task {config.name}: cut {cut}: {config.label} {value!r} is no number")
    return number


def _classes_of(config: TaskConfig, value: str | None) -> frozenset[str] | None:
    """Name the classes of a cut; None if it is no item of the task."""
    if value is None:
        return frozenset() if config.unlabeled == "negative" else None
    words = [value] if config.kind == "single" else [word for word in value.split("|") if word]
    classes = frozenset(config.merge.get(word, word) for word in words) - set(config.drop)
    return classes if classes or config.kind == "multi" else None


def _with_validation(items: list[_Item]) -> list[_Item]:
    """Take a tenth of the groups of training for validation, the same ones always.

    Of every class a group stays.
    """
    members: dict[str, list[_Item]] = defaultdict(list)
    for item in items:
        if item.split == "train":
            members[item.group].append(item)
    classes = {g: frozenset[str]().union(*(i.classes for i in m)) for g, m in members.items()}
    left = Counter(name for names in classes.values() for name in names)
    taken: set[str] = set()
    for group in sorted(members, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if len(taken) < len(members) / 10 and all(left[name] > 1 for name in classes[group]):
            taken.add(group)
            left.subtract(classes[group])
    moved = {"train": "valid"}
    return [
        replace(item, split=moved.get(item.split, item.split)) if item.group in taken else item
        for item in items
    ]


def _check_splits(config: TaskConfig, items: list[_Item]) -> None:
    parts = _parts(config)
    counts = Counter(item.split for item in items)
    if empty := [part for part in parts if not counts[part]]:
        named = ", ".join(f"{part} ({config.split}={'/'.join(parts[part])})" for part in empty)
        raise UserError(
            f"task {config.name}: no items to {named}; there must be some to learn from, some to "
            "choose on and some to score"
        )


def _check_groups(config: TaskConfig, items: list[_Item]) -> None:
    """Refuse groups of which one part is learnt and another scored."""
    splits: dict[str, set[str]] = defaultdict(set)
    for item in items:
        splits[item.group].add(item.split)
    leaking = sorted(group for group, splits_of_group in splits.items() if len(splits_of_group) > 1)
    if leaking:
        first = leaking[0]
        where = " and ".join(part for part in _parts(config) if part in splits[first])
        raise UserError(
            f"task {config.name}: {len(leaking)} of {len(splits)} groups ({config.group}) are in "
            f"two splits, which would score what was learnt by heart: {', '.join(leaking[:3])}"
            f"{', ...' if len(leaking) > 3 else ''} ({first} in {where}); mend the splits"
        )


def _classes(config: TaskConfig, items: list[_Item]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Name the classes, and those that cannot be scored."""
    sets = {part: [i.classes for i in items if i.split == part] for part in _parts(config)}
    present = {part: frozenset[str]().union(*classes) for part, classes in sets.items()}
    every = frozenset[str]().union(*present.values())
    if config.kind == "multi":
        # What all items of a split have cannot be learnt there, or is found without looking.
        shared = [frozenset.intersection(*classes) for classes in sets.values()]
        scored = frozenset.intersection(*present.values()).difference(*shared)
    else:
        scored = _learnable(config, present)
        # Events of a class that training has not are missed, and counted as such.
        if config.kind == "single" and (unseen := sorted(every - scored)):
            raise UserError(
                f"task {config.name}: nothing to learn {', '.join(unseen[:5])} from: no such item "
                "in train; merge these classes, or drop them"
            )
    if len(scored) < (2 if config.kind == "single" else 1):
        raise UserError(
            f"task {config.name}: {len(scored)} classes ({', '.join(sorted(scored))}): nothing to "
            "tell apart"
        )
    return tuple(sorted(scored)), tuple(sorted(every - scored))


def _learnable(config: TaskConfig, present: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Name the classes that training has, in every round."""
    if not config.folds:
        return present["train"]
    turns = zip(config.folds, (*config.folds[1:], config.folds[0]), strict=True)
    trained = [
        [present[fold] for fold in config.folds if fold not in turn] for turn in turns
    ]  # all but the fold that is tested and the one that is validated on
    return frozenset.intersection(*(frozenset[str]().union(*sets) for sets in trained))
