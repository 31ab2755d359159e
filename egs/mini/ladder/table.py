"""The table of a ladder: `python -m egs.mini.ladder.table conf exp`.

Every rung is a file, conf/<family>/<rung>.yaml, whose first two lines say its hypothesis and its
prediction ("above base", "below random on speaker"). A row has the rung's scores on every task and
their mean, each bold where its difference from the base leaves out zero, the difference of means
with its interval, over seeds and groups of items, and whether the prediction held.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiossl.atomic_files import read_json
from audiossl.probing.bootstrap import BootstrapConfig, Interval, percentiles, replicates
from audiossl.probing.comparison import compare
from audiossl.probing.metrics import metric_of
from audiossl.probing.predictions import (
    Predictions,
    check_comparable,
    merge_seeds,
    read_predictions,
)

BASES = {
    "embed": "cola-base",
    "teacher": "spear-base",
    "quantizer": "spear-base",
    "features": "teacher-aisfx",
}
"""Rung that those of a family are compared with, where it is not their own base."""
DRAWS = BootstrapConfig(replicates=2000)
PROBE = "linear"
LAST = ("mean", "mean - reference", "prediction held")
HYPOTHESIS, PREDICTION = "# Hypothesis: ", "# Prediction: "

Scored = Mapping[str, Predictions]
"""Predictions of one system by task, seeds as runs."""


@dataclass(frozen=True)
class Rung:
    """One setting more or less, and what is expected of it."""

    family: str
    name: str
    hypothesis: str
    side: str
    """Side of the reference on which it is predicted: above or below."""
    reference: str
    """What it is compared with: base, or random."""
    task: str | None
    """Task that the prediction is of; None: the mean over all."""

    @property
    def folder(self) -> str:
        """Name of its scores and, with a seed behind it, of its runs."""
        return f"{self.family}-{self.name}"

    @property
    def base(self) -> str:
        """Folder of its base."""
        return BASES.get(self.family, f"{self.family}-base")

    @property
    def prediction(self) -> str:
        """What it predicts."""
        return f"{self.side} {self.reference}" + (f" on {self.task}" if self.task else "")


def read_rung(path: Path) -> Rung:
    """Read what a file says of its rung.

    Raises:
        ValueError: Its first lines are no hypothesis and no prediction.
    """
    first, second, *_ = path.read_text(encoding="utf-8").splitlines()
    side, reference, *rest = second.removeprefix(PREDICTION).split()
    said = first.startswith(HYPOTHESIS) and second.startswith(PREDICTION)
    known = side in ("above", "below") and reference in ("base", "random")
    if not (said and known and rest[:1] in ([], ["on"])):
        raise ValueError(f"{path}: say '{HYPOTHESIS}...', then '{PREDICTION}above base'")
    hypothesis = first.removeprefix(HYPOTHESIS)
    return Rung(path.parent.name, path.stem, hypothesis, side, reference, rest[1] if rest else None)


def read_scored(folder: Path) -> dict[str, Scored]:
    """Read the systems of a rung: itself and, of a base, its random copies and log-mel."""
    systems: dict[str, dict[str, Predictions]] = {}
    for task in sorted((folder / "predictions").iterdir()):
        for one in merge_seeds(map(read_predictions, sorted(task.glob(f"*.{PROBE}.npz")))):
            systems.setdefault(one.encoder, {})[task.name] = one
    return dict(systems)


def mean_score(scored: Scored) -> float:
    """Average over tasks."""
    return float(np.mean([one.score(one.task.metric) for one in scored.values()]))


def mean_difference(scored: Scored, reference: Scored) -> Interval:
    """Average the paired differences over tasks; the draws of seeds are the same on all of them."""
    draws = []
    for task, one in scored.items():
        check_comparable(one, reference[task])
        metric = metric_of(one.task.metric)
        pair = (replicates(metric, system, DRAWS) for system in (one, reference[task]))
        draws.append(np.subtract(*pair))
    ends = percentiles(np.mean(draws, axis=0), DRAWS)
    return Interval(mean_score(scored) - mean_score(reference), *ends)


def verdict(side: str, difference: Interval) -> str:
    """Say whether a prediction held: where its interval lies.

    >>> verdict("above", Interval(0.02, -0.01, 0.05)), verdict("below", Interval(0.02, 0.01, 0.05))
    ('not shown', 'the opposite')
    """
    if difference.low <= 0 <= difference.high:
        return "not shown"
    return "held" if (difference.low > 0) == (side == "above") else "the opposite"


def table(rungs: Sequence[Rung], folder: Path) -> Iterator[str]:
    """Write the rows: of a base, before it, its random copies and log-mel statistics."""
    scored = {rung.folder: read_scored(folder / "scores" / rung.folder) for rung in rungs}
    tasks = sorted(next(iter(scored.values()))[rungs[0].folder])
    yield _line(["rung", "hypothesis", "prediction", "seconds", *tasks, *LAST])
    yield _line(["---"] * (4 + len(tasks) + len(LAST)))
    for rung in rungs:
        systems = scored[rung.folder]
        own = systems[rung.folder]
        for name in sorted(systems.keys() - {rung.folder}):
            gain = mean_difference(systems[name], own)
            cells = [*_scores(systems[name], own), _signed(gain), ""]
            yield _line([f"{name}, {rung.family}", "", "", "", *cells])
        reference = scored[rung.base][rung.base if rung.reference == "base" else rung.reference]
        gain = mean_difference(own, reference)
        cells = [*_scores(own, reference), _signed(gain), _outcome(rung, own, reference, gain)]
        name = f"{rung.family}/{rung.name}"
        yield _line([name, rung.hypothesis, rung.prediction, _seconds(rung, folder), *cells])


def _outcome(rung: Rung, own: Scored, reference: Scored, gain: Interval) -> str:
    """Say whether its prediction held, of the mean over tasks or of one."""
    if rung.task:
        gain = compare(own[rung.task], reference[rung.task], DRAWS).difference
    return verdict(rung.side, gain)


def _scores(scored: Scored, reference: Scored) -> list[str]:
    """Write scores of tasks, bold where the difference from the reference leaves out zero."""
    cells = []
    for task in sorted(scored):
        one = scored[task]
        text = f"{one.score(one.task.metric):.3f}"
        differs = _leaves_out_zero(compare(one, reference[task], DRAWS).difference)
        cells.append(f"**{text}**" if differs else text)
    return [*cells, f"{mean_score(scored):.3f}"]


def _signed(difference: Interval) -> str:
    text = f"{difference.score:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"
    return f"**{text}**" if _leaves_out_zero(difference) else text


def _leaves_out_zero(difference: Interval) -> bool:
    return difference.low > 0 or difference.high < 0


def _seconds(rung: Rung, folder: Path) -> str:
    """Average how long its runs trained; nothing where they are those of another rung."""
    records = [read_json(path) for path in sorted(folder.glob(f"{rung.folder}_*/stage.json"))]
    return f"{np.mean([record['seconds'] for record in records]):.0f}" if records else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(settings: Path, folder: Path) -> None:
    """Write the table of the rungs that have scores to standard output."""
    files = sorted(settings.glob("*/*.yaml"), key=lambda path: (path.stem != "base", path.stem))
    families = {family: number for number, family in enumerate(("cola", "embed", "spear"))}
    rungs = [read_rung(path) for path in files]
    rungs.sort(key=lambda rung: families.get(rung.family, len(families)))
    there = [rung for rung in rungs if (folder / "scores" / f"{rung.folder}.json").exists()]
    sys.stdout.write("".join(f"{line}\n" for line in table(there, folder)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
