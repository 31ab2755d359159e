"""Results of probes as types: what scores.json holds, and what reports and tables are made of."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiossl.atomic_files import read_object
from audiossl.configs import from_plain, plain
from audiossl.errors import UserError
from audiossl.probing.bootstrap import BootstrapConfig, Interval
from audiossl.probing.predictions import seedless

FORMAT = 1
NO_PROBE = "none"
"""Probe of rows that need no encoder: the most frequent class, chance."""
SEED = "seed"
"""Role of one seed of an encoder, beside the mean over its seeds."""


@dataclass(frozen=True)
class Score:
    """A score, or a difference of scores, with its interval; None is what is not defined."""

    score: float | None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    """Standard deviation over seeds, if there are several."""

    @classmethod
    def of(cls, interval: Interval, deviation: float | None = None) -> "Score":
        """Take a score with its interval."""
        return cls(interval.score, interval.low, interval.high, deviation)

    @property
    def value(self) -> float:
        """The score as a number; NaN where it is not defined."""
        return math.nan if self.score is None else self.score

    @property
    def ends(self) -> tuple[float, float] | None:
        """Ends of the interval, if there is one that is more than a point."""
        if self.low is None or self.high is None or self.low == self.high:
            return None
        return self.low, self.high


@dataclass(frozen=True)
class Row:
    """One encoder under one probe on one task."""

    encoder: str
    probe: str
    role: str
    """"encoder", the kind of a baseline, or `SEED`."""
    scores: dict[str, Score]
    """Scores by metric."""
    seeds: int = 1
    """Number of seeds that the scores are means of."""
    choice: dict[str, Any] = field(default_factory=dict)
    """Settings chosen on validation items."""
    validation: dict[str, float | None] = field(default_factory=dict)
    """Best validation score of each embedding (layer, pooling)."""
    runs: int = 1
    """Number of runs of the probe."""
    folds: tuple[float | None, ...] = ()
    """Score of each fold, by the task's own metric; None where it is not defined."""


@dataclass(frozen=True)
class Difference:
    """One encoder minus another, on the same test items."""

    probe: str
    encoder: str
    reference: str
    difference: Score
    probability: float | None = None
    p_bootstrap: float | None = None
    p_mcnemar: float | None = None
    """McNemar's p-value, as in `audiossl.probing.comparison.Comparison`."""

    @property
    def verdict(self) -> str:
        """Whether the interval leaves out zero: "better", "worse" or "undecided"."""
        if (self.difference.low or 0.0) > 0:
            return "better"
        return "worse" if (self.difference.high or 0.0) < 0 else "undecided"


@dataclass(frozen=True)
class TaskResults:
    """All rows of one task. Mappings have a key for each of the splits train, valid and test."""

    name: str
    metric: str
    rows: tuple[Row, ...] = ()
    label: str = ""
    kind: str = "single"
    family: str = ""
    note: str = ""
    """Remark on what can be expected of the task."""
    classes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """Classes that are not in every split."""
    items: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    positives: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Number of items of each class."""
    differences: tuple[Difference, ...] = ()

    @property
    def probes(self) -> list[str]:
        """Names of the probes, the one that tables show first."""
        return list(dict.fromkeys(row.probe for row in self.rows if row.probe != NO_PROBE))

    def score(self, row: Row) -> Score:
        """Find the score of a row by the metric of the task."""
        return row.scores[self.metric]

    def first(self, encoder: str) -> Row | None:
        """Find the row of an encoder under the first probe."""
        return next((row for row in self.rows if row.encoder == encoder), None)

    def row(self, encoder: str, probe: str) -> Row | None:
        """Find the row of an encoder under a probe; of a row that needs none, under any."""
        found = (row for row in self.rows if row.encoder == encoder)
        return next((row for row in found if row.probe in (probe, NO_PROBE)), None)

    def seeds_of(self, row: Row) -> list[Row]:
        """List the seeds that a row is the mean of."""
        return [
            seed
            for seed in self.rows
            if (seed.role, seed.probe, seedless(seed.encoder)) == (SEED, row.probe, row.encoder)
        ]


@dataclass(frozen=True)
class StandingRow:
    """An encoder among all, over all tasks; see `audiossl.probing.standings.Standing`."""

    encoder: str
    role: str
    overall: Score
    families: dict[str, float | None]
    mean_rank: float


@dataclass(frozen=True)
class EncoderFacts:
    """What `recipes.probe.embed` says of an encoder."""

    role: str
    source: str = ""
    """Name, as `load_encoder` takes it."""
    digest: str = ""
    """Digest of its weights."""
    parameters: int | None = None
    frame_rate: float | None = None
    """Frames a second."""
    layer_convention: str = ""
    embeddings: dict[str, int] = field(default_factory=dict)
    """Name of each embedding (layer, pooling) to its dimension."""


@dataclass(frozen=True)
class Results:
    """Content of scores.json."""

    format: int = FORMAT
    bootstrap: BootstrapConfig = BootstrapConfig()
    """Settings of the intervals."""
    encoders: dict[str, EncoderFacts] = field(default_factory=dict)
    """Encoders by their names in tables."""
    tasks: tuple[TaskResults, ...] = ()
    standings: dict[str, tuple[StandingRow, ...]] = field(default_factory=dict)
    """Standings by probe, the best encoder first."""


def read_results(path: Path) -> Results:
    """Read scores.json, as `recipes.probe.fit` of this or an earlier version wrote it.

    Raises:
        UserError: The file is missing, damaged, of a newer format, or something else.
    """
    content = read_object(path, encoders=dict, tasks=list, bootstrap=dict)
    number = content.get("format", FORMAT)
    if isinstance(number, int) and number > FORMAT:
        raise UserError(
            f"{path}: written by a newer version (format {number}; this one reads {FORMAT}): "
            "update audiossl, or fit again"
        )
    known: Results = from_plain(Results, only_finite(content), f"{path}: damaged?")
    return known


def results_content(results: Results) -> dict[str, Any]:
    """Turn results into what `read_results` reads: JSON has no NaN or infinity, they become null.

    Example:
        >>> row = Row("chance", "none", "chance", {"accuracy": Score(0.5)})
        >>> content = results_content(Results(tasks=(TaskResults("t", "accuracy", (row,)),)))
        >>> content["tasks"][0]["rows"][0]["scores"]["accuracy"]
        {'score': 0.5, 'low': None, 'high': None, 'deviation': None}
    """
    content: dict[str, Any] = only_finite(plain(results))
    return content


def only_finite(content: Any) -> Any:
    """Replace NaN and infinity by None, however deep.

    >>> only_finite({"scores": [0.5, math.nan, -math.inf]})
    {'scores': [0.5, None, None]}
    """
    if isinstance(content, dict):
        return {name: only_finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [only_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
