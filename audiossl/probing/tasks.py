"""Tasks: which labels of which cuts are learnt, chosen on, and scored; and what may not leak.

A task never sees audio: it is a table of targets over cuts of a corpus, in three splits.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, Shaped

from audiossl.data.selection import is_chosen
from audiossl.errors import UserError, did_you_mean
from audiossl.probing.metrics import TaskKind, metric_of
from audiossl.probing.segments import parse_segments

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
    """Number of classes of an item: one ("single"), or any number of them ("multi":
    "bass|drums")."""
    metric: str = "accuracy"
    """Score that settings are chosen and tables reported by: accuracy, balanced_accuracy, pr_auc,
    roc_auc, d_prime (macro over classes), or python:module:name of a metric of one's own."""
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
    """Values of `split` for validation: probe settings are chosen on them."""
    test: tuple[str, ...] = ("test",)
    """Values of `split` for the test, which is scored once."""
    group: str = "recording"
    """Label of groups that must not be in two splits, and that the bootstrap draws: recording,
    song, speaker, session."""
    segments: bool = False
    """Whether items are the timed segments of a cut that the label holds ("0.51-0.60 e|0.60-0.76
    g")."""
    family: str = ""
    """Name of the tasks that it is averaged with where encoders are ranked over all; by default it
    stands for itself."""
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
        unfit = self.kind not in metric_of(self.metric).kinds
        if self.kind == "multi" and (unfit or self.stratify):
            what = f"metric {self.metric}" if unfit else "stratify"
            raise UserError(
                f"task {self.name}: {what} needs one class an item, but its kind is multi"
            )
        if self.segments and self.kind == "multi":
            raise UserError(f"task {self.name}: a segment has one class, but its kind is multi")
        if self.kind == "single" and self.unlabeled == "negative":
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
    targets: Bool[np.ndarray, "items classes"]
    groups: Shaped[np.ndarray, " items"]
    splits: Shaped[np.ndarray, " items"]
    places: Int[np.ndarray, " items"] | None = None
    """Index of each item's segment in its cut, counted from 0; None: items are cuts."""

    def rows(self, split: Split) -> Int[np.ndarray, " rows"]:
        """Number the items of a split."""
        return np.flatnonzero(self.splits == split)


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
    _check_splits(config, items)
    _check_groups(config, items)
    classes, left_out = _classes(config, items)
    column = {name: index for index, name in enumerate(classes)}
    targets: np.ndarray = np.zeros((len(items), len(classes)), bool)
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
    )


@dataclass(frozen=True)
class _Item:
    cut: int
    id: str
    classes: frozenset[str]
    group: str
    split: Split
    place: int = 0


def _items(config: TaskConfig, cuts: Iterable[Mapping[str, str]]) -> list[_Item]:
    split_of = {value: split for split in SPLITS for value in getattr(config, split)}
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
    if not config.segments or value is None:
        classes = _classes_of(config, value)
        return [] if classes is None else [replace(cut, classes=classes)]
    return [
        replace(cut, id=f"{cut.id}@{segment.begin:g}", classes=classes, place=place)
        for place, segment in enumerate(parse_segments(value, cut.id))
        if (classes := _classes_of(config, segment.name)) is not None
    ]


def _classes_of(config: TaskConfig, value: str | None) -> frozenset[str] | None:
    """Name the classes of a cut; None if it is no item of the task."""
    if value is None:
        return frozenset() if config.unlabeled == "negative" else None
    words = [value] if config.kind == "single" else [word for word in value.split("|") if word]
    classes = frozenset(config.merge.get(word, word) for word in words) - set(config.drop)
    return classes if classes or config.kind == "multi" else None


def _check_splits(config: TaskConfig, items: list[_Item]) -> None:
    counts = {split: sum(item.split == split for item in items) for split in SPLITS}
    if empty := [split for split, count in counts.items() if not count]:
        values = {split: "/".join(getattr(config, split)) for split in empty}
        named = ", ".join(f"{split} ({config.split}={value})" for split, value in values.items())
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
        where = " and ".join(split for split in SPLITS if split in splits[first])
        raise UserError(
            f"task {config.name}: {len(leaking)} of {len(splits)} groups ({config.group}) are in "
            f"two splits, which would score what was learnt by heart: {', '.join(leaking[:3])}"
            f"{', ...' if len(leaking) > 3 else ''} ({first} in {where}); mend the splits"
        )


def _classes(config: TaskConfig, items: list[_Item]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Name the classes, and those that cannot be scored."""
    sets = {split: [item.classes for item in items if item.split == split] for split in SPLITS}
    present = {split: frozenset[str]().union(*classes) for split, classes in sets.items()}
    every = frozenset[str]().union(*present.values())
    if config.kind == "multi":
        # What all items of a split have cannot be learnt there, or is found without looking.
        shared = [frozenset.intersection(*classes) for classes in sets.values()]
        scored = frozenset.intersection(*present.values()).difference(*shared)
    else:
        scored = present["train"]
        if unseen := sorted(every - scored):
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
