"""A task of heads on frames: what is learnt, how, and on which cuts."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from audiossl.configs import Nonnegative, Share
from audiossl.data.labeled_cuts import LabeledConfig
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from audiossl.methods.supervised import SupervisedConfig
from audiossl.probing.sequence_tasks import METRICS_OF, DecodingConfig, Target
from audiossl.training.loop import LoopConfig
from recipes.supervised import Splits, open_splits


@dataclass(frozen=True, kw_only=True)
class SequenceTaskConfig:
    """What a head learns, and how it is trained."""

    name: str
    """Name in tables: letters, digits, "-" and "_"."""
    target: Target
    """Content of the label: "classes" or "tags" of cuts; text as "characters", as "phones" (units
    between spaces) or with "slots"; or timed segments of which a frame has one ("frames") or
    several ("events"), or which are turns of "speakers"."""
    train: LabeledConfig
    """Cuts to train on, and the label to predict."""
    valid: dict[str, list[str]] = field(default_factory=lambda: {"split": ["valid"]})
    """Labels and their values of the cuts that settings are chosen on."""
    test: dict[str, list[str]] = field(default_factory=lambda: {"split": ["test"]})
    """Labels and their values of the cuts that are scored."""
    group: str = "recording"
    """Label of what the bootstrap draws: recording, speaker, session."""
    method: SupervisedConfig = field(default_factory=SupervisedConfig)
    """Head and its training."""
    thresholds: tuple[Share, ...] = (0.3, 0.4, 0.5, 0.6, 0.7)
    """Thresholds to choose from, for events and speakers."""
    medians: tuple[Nonnegative, ...] = (0.0, 0.22)
    """Durations of a median filter to choose from, in seconds, for events and speakers."""
    plan: PlanConfig
    """Composition of batches."""
    loop: LoopConfig
    """Training loop: steps, optimizer, precision and records."""

    @property
    def metric(self) -> str:
        """Figure that settings are chosen by."""
        return METRICS_OF[self.target][0]

    @property
    def decodings(self) -> list[DecodingConfig]:
        """Thresholds and filters to choose from."""
        if self.target not in ("events", "speakers"):
            return [DecodingConfig()]
        return [
            DecodingConfig(threshold=threshold, median=median)
            for threshold in self.thresholds
            for median in self.medians
        ]


def splits_of(cuts_folder: Path, task: SequenceTaskConfig) -> Splits:
    """Find the cuts of a task, and refuse those that are in two splits.

    Raises:
        UserError: Some are, or a split is empty; or cuts without labels are to take part.
    """
    if task.train.unlabeled or task.method.consistency:
        raise UserError(
            f"task {task.name}: train.unlabeled and method.consistency are of fine-tuning, and "
            "heads here may read cached frames: leave them out, or run recipes.finetune with "
            "adaptation frozen"
        )
    others = {"valid": task.valid, "test": task.test}
    splits = open_splits(cuts_folder, task.target, task.train, others, task.plan)
    cuts = {name: set(one.cuts.cuts.tolist()) for name, one in splits.others.items()}
    cuts["train"] = set(splits.train.cuts.cuts.tolist())
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        if shared := cuts[one] & cuts[other]:
            raise UserError(
                f"task {task.name}: {len(shared)} cuts are in {one} and in {other}, which would "
                "score what was learnt by heart: mend train.where, valid and test"
            )
    return splits


def groups_of(task: SequenceTaskConfig, splits: Splits) -> np.ndarray:
    """Name the group of each test cut.

    Raises:
        UserError: One has no such label.
    """
    source = splits.others["test"].cuts
    labels = list(source.corpus.labels())
    chosen = [labels[int(cut)] for cut in source.cuts]
    if missing := next((one for one in chosen if task.group not in one), None):
        raise UserError(
            f"task {task.name}: cut {missing['id']} has no label {task.group!r} to group by"
        )
    return np.array([one[task.group] for one in chosen])
