"""What probes of frames and fine-tuning have in common: labeled cuts as numbers, and answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from audiossl.atomic_files import write_json, write_text
from audiossl.batches import LabelBatch, LayerBatch, to_device
from audiossl.data.labeled_cuts import LabeledConfig, LabeledCuts, LabelSource
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from audiossl.losses.labels import OF_CLIPS
from audiossl.methods.supervised import Supervised
from audiossl.probing.sequence_tasks import (
    Answers,
    DecodingConfig,
    Target,
    Targets,
    targets_of,
)

SECONDS_AT_ONCE = 60.0
"""Audio of a batch when cuts are scored."""


class Source(Protocol):
    """Where labeled cuts are read by number."""

    cuts: LabeledCuts

    def batch(self, items: Sequence[int], width: int) -> LabelBatch | LayerBatch:
        """Read cuts."""
        ...


@dataclass(frozen=True)
class Splits:
    """Labeled cuts of a task, as numbers."""

    targets: Targets
    train: LabelSource
    others: Mapping[str, LabelSource]
    """Cuts that are scored, by name of the split."""


def open_splits(
    cuts: Path,
    target: Target,
    train: LabeledConfig,
    others: Mapping[str, Mapping[str, list[str]]],
    plan: PlanConfig,
) -> Splits:
    """Find the cuts of each split, and what their labels stand for.

    Args:
        cuts: Output of a `prepare` stage.
        target: What labels say.
        train: Cuts to train on.
        others: Labels and their values of cuts that are scored, by name of the split.
        plan: Composition of batches.

    Raises:
        UserError: A split is empty, or has classes that training cuts do not have; or cuts without
            labels are to take part where no frames are scored.
    """
    if train.unlabeled and target not in ("frames", "events"):
        raise UserError(
            f"train.unlabeled: cuts without labels teach frames, and target is {target}: set "
            "target to frames or events, or train.unlabeled to false"
        )
    found = LabeledCuts(cuts, train)
    targets = targets_of(target, list(filter(all, found.labels)), train.separator)
    if target == "tags":
        # Neighbors in a batch are mixed.
        plan = replace(plan, multiple=plan.multiple * (1 + plan.multiple % 2))
    splits = {
        name: LabeledCuts(cuts, replace(train, where=dict(where), unlabeled=False))
        for name, where in others.items()
    }
    return Splits(
        targets,
        _source(found, targets, plan),
        {name: _source(one, targets, plan) for name, one in splits.items()},
    )


def _source(cuts: LabeledCuts, targets: Targets, plan: PlanConfig) -> LabelSource:
    names = [cuts.corpus.name(int(cut)) for cut in cuts.cuts]
    numbers = [targets.encode(label, name) for label, name in zip(cuts.labels, names, strict=True)]
    return LabelSource(cuts, numbers, plan)


def answers_of(
    method: Supervised,
    source: Source,
    targets: Targets,
    decoding: DecodingConfig,
    device: torch.device,
) -> Answers:
    """Ask a trained head about every cut, like lengths together; answers are in order."""
    method.eval()
    cuts = source.cuts
    values: dict[int, np.ndarray] = {}
    times = torch.zeros(1)
    for items in cuts.in_order(SECONDS_AT_ONCE):
        batch = to_device(source.batch(items, int(cuts.lengths[items].max())), device)
        rows, centers = method.predict(batch)
        values |= {item: row.cpu().numpy() for item, row in zip(items, rows, strict=True)}
        times = max(times, centers.cpu(), key=len)
    period = float(times[1] - times[0]) if len(times) > 1 else 1.0
    of_frames = len(times) > 1 and targets.outputs.objective not in OF_CLIPS
    return Answers(
        targets, cuts.labels, [values[item] for item in range(len(cuts.cuts))],
        period, float(times[0]) - period / 2 if of_frames else 0.0,
        [cuts.corpus.name(int(cut)) for cut in cuts.cuts], decoding,
    )  # fmt: skip


def write_answers(folder: Path, answers: Answers, figures: Mapping[str, float]) -> None:
    """Write scores, and what is predicted of each cut: text, classes, tags or segments."""
    rows = [
        {"id": name, "reference": list(label), "hypothesis": _said(answers, number)}
        for number, (name, label) in enumerate(zip(answers.names, answers.labels, strict=True))
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text(folder / "predictions.jsonl", lines)
    write_json(folder / "classes.json", [list(names) for names in answers.targets.classes])
    write_json(folder / "scores.json", {**figures, "cuts": len(rows)})


def _said(answers: Answers, number: int) -> object:
    targets, value = answers.targets, answers.values[number]
    match targets.target:
        case "classes":
            ends = np.cumsum([len(names) for names in targets.classes])[:-1]
            parts = zip(targets.classes, np.split(value, ends), strict=True)
            return [names[int(part.argmax())] for names, part in parts]
        case "tags":
            return {n: round(float(p), 4) for n, p in zip(targets.classes[0], value, strict=True)}
        case "characters" | "phones" | "slots":
            return targets.decode(value)
        case "frames":
            value = value >= value.max(axis=1, keepdims=True)
            answers = replace(answers, values=[value.astype(float)])
            turns = answers.turns(0)
        case _:
            turns = answers.turns(number)
    return "|".join(f"{turn.begin:.3f}-{turn.end:.3f} {turn.name}" for turn in turns)
