"""Compare encoders on the predictions that probes have stored, item by item.

FOLDERS are outputs of recipes.probe.fit. Every encoder is compared with the reference on the same
test items: the difference of scores with a paired bootstrap interval over groups, its p-value
(and Holm's correction for the number of comparisons), that of swapping predictions within groups,
McNemar's exact test, over groups, where each item has one class, and the corrected resampled t test
where there are folds. Three systems or more are ranked over tasks. Encoders whose names differ
after a "#" are seeds of one system.

example: audiossl compare exp/fit --reference cola
"""

import argparse
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from audiossl.cli.columns import columns, latex, markdown
from audiossl.cli.terminal import as_is, count
from audiossl.errors import UserError, did_you_mean
from audiossl.probing.bootstrap import BootstrapConfig, interval
from audiossl.probing.comparison import Comparison, compare, holm, rank_systems
from audiossl.probing.items import write_items
from audiossl.probing.metrics import METRICS, metric_of
from audiossl.probing.paired_tests import fold_test, permutation_test
from audiossl.probing.predictions import Predictions, merge_seeds, read_predictions

_HEAD = (
    "task", "probe", "encoder", "metric", "score", "difference", "better in", "p", "p (Holm)",
    "permutation p", "McNemar p", "folds p", "items",
)  # fmt: skip

Systems = dict[str, dict[tuple[str, str], Predictions]]
"""Encoder to its predictions by task and probe."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    as_is(parser)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--reference", default="", help="what the others are compared with")
    parser.add_argument("--encoder", action="append", default=[], help="only these; repeat")
    parser.add_argument("--task", action="append", default=[], help="only these; repeat")
    parser.add_argument("--probe", action="append", default=[], help="only these; repeat")
    parser.add_argument("--metric", default="", help=f"{', '.join(METRICS)}; default: the task's")
    parser.add_argument("--replicates", type=count, default=2000, help="draws: %(default)s")
    parser.add_argument("--format", choices=("text", "markdown", "latex", "csv"), default="text")
    parser.add_argument(
        "--items", type=Path, metavar="FILE",
        help="write every test item with its prediction by each system: .csv or .parquet",
    )  # fmt: skip


@dataclass(frozen=True)
class _Line:
    predictions: Predictions
    metric: str
    comparison: Comparison | None = None
    """None for the reference itself."""
    p_permutation: float | None = None
    p_folds: float | None = None
    corrected: float = 1.0


def run(arguments: argparse.Namespace) -> None:
    """Compare and print."""
    if arguments.metric:
        metric_of(arguments.metric)
    systems = _chosen(_systems(arguments.folders), arguments)
    reference = _reference(systems, arguments.reference)
    _check_lists(systems, reference)
    config = BootstrapConfig(replicates=arguments.replicates)
    lines = _corrected(_lines(systems, reference, config, arguments.metric))
    rows = [_HEAD, *(_row(line, config) for line in lines)]
    if arguments.format == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        print(text.getvalue(), end="")
    else:
        print({"text": columns, "markdown": markdown, "latex": latex}[arguments.format](rows))
        print(*_conclusions(lines, systems, reference), sep="\n")
    if arguments.items:
        write_items(arguments.items, [one for table in systems.values() for one in table.values()])


def _systems(folders: list[Path]) -> Systems:
    """Read all predictions; encoders of several folders carry the folder's name."""
    systems: Systems = {}
    for folder in folders:
        files = sorted((folder / "predictions").glob("*/*.npz"))
        if not files:
            raise UserError(f"{folder}: no predictions in it: give the output of recipes.probe.fit")
        tables: dict[tuple[str, str], list[Predictions]] = {}
        for path in files:
            loaded = read_predictions(path)
            tables.setdefault((loaded.task.name, loaded.probe), []).append(loaded)
        for key, predictions in tables.items():
            for one in merge_seeds(predictions):
                name = f"{folder}:{one.encoder}" if len(folders) > 1 else one.encoder
                systems.setdefault(name, {})[key] = replace(one, encoder=name)
    return systems


def _chosen(systems: Systems, arguments: argparse.Namespace) -> Systems:
    """Keep what is asked for; the most frequent class has no probe and is left out."""
    tables = {key for table in systems.values() for key in table if key[1] != "none"}
    known = {
        "--encoder": (arguments.encoder, set(systems)),
        "--task": (arguments.task, {task for task, _ in tables}),
        "--probe": (arguments.probe, {probe for _, probe in tables}),
    }
    for option, (asked, there) in known.items():
        for name in asked:
            if name not in there:
                hint = did_you_mean(name, there)
                raise UserError(f"{option} {name}: not there{hint} ({', '.join(sorted(there))})")
    chosen = {
        name: {
            key: predictions
            for key, predictions in table.items()
            if key in tables
            and key[0] in (arguments.task or (key[0],))
            and key[1] in (arguments.probe or (key[1],))
        }
        for name, table in systems.items()
        if name in (*arguments.encoder, arguments.reference) or not arguments.encoder
    }
    return {name: table for name, table in chosen.items() if table}


def _reference(systems: Systems, asked: str) -> str:
    if asked and asked not in systems:
        raise UserError(
            f"--reference {asked}: no such encoder{did_you_mean(asked, systems)} "
            f"(there are {', '.join(systems)})"
        )
    if len(systems) < 2:
        raise UserError(f"nothing to compare: only {', '.join(systems) or 'nothing'} is left")
    return asked or next(iter(systems))


def _check_lists(systems: Systems, reference: str) -> None:
    """Refuse to compare systems that were not measured by the same tasks and probes."""
    expected = set(systems[reference])
    for name, table in systems.items():
        if apart := sorted(expected ^ set(table)):
            listed = ", ".join(f"{task} ({probe})" for task, probe in apart[:3])
            raise UserError(
                f"{reference} and {name} have different lists of tasks and probes: {listed} is in "
                "only one of them; choose common ones with --task and --probe"
            )


def _lines(systems: Systems, reference: str, config: BootstrapConfig, metric: str) -> list[_Line]:
    others = [name for name in systems if name != reference]
    lines = []
    for key, base in systems[reference].items():
        name = metric or base.task.metric
        lines.append(_Line(base, name))
        for other in others:
            pair = (systems[other][key], base)
            p_values = permutation_test(*pair, config, name), fold_test(*pair, name)
            lines.append(_Line(pair[0], name, compare(*pair, config, name), *p_values))
    return lines


def _corrected(lines: list[_Line]) -> list[_Line]:
    p_values = [line.comparison.p_bootstrap for line in lines if line.comparison]
    corrected = iter(holm(p_values))
    return [replace(line, corrected=next(corrected)) if line.comparison else line for line in lines]


def _row(line: _Line, config: BootstrapConfig) -> tuple[str, ...]:
    predictions, one = line.predictions, line.comparison
    own = interval(metric_of(line.metric), predictions, config)
    first = (
        predictions.task.name,
        predictions.probe,
        predictions.encoder
        + (f" ({len(predictions.runs)} runs)" if len(predictions.runs) > 1 else ""),
        line.metric,
        f"{own.score:.3f} [{own.low:.3f}, {own.high:.3f}]",
    )
    if one is None:
        return (*first, "reference", *[""] * 6, str(len(predictions.ids)))
    gain = one.difference
    return (
        *first,
        f"{gain.score:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]",
        f"{one.probability:.0%}",
        f"{one.p_bootstrap:.3f}",
        f"{line.corrected:.3f}",
        *map(_p_value, (line.p_permutation, one.p_mcnemar, line.p_folds)),
        str(len(predictions.ids)),
    )


def _p_value(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _conclusions(lines: list[_Line], systems: Systems, reference: str) -> Iterator[str]:
    """Count intervals that leave out zero, and rank systems over tasks."""
    gains = [line.comparison.difference for line in lines if line.comparison]
    better = sum(gain.low > 0 for gain in gains)
    worse = sum(gain.high < 0 for gain in gains)
    yield (
        f"against {reference}: {better} better, {worse} worse, {len(gains) - better - worse} "
        "undecided at 95 %"
    )
    scores = {
        (line.predictions.encoder, line.predictions.task.name, line.predictions.probe): (
            line.predictions.score(line.metric)
        )
        for line in lines
    }
    for probe in dict.fromkeys(probe for _, probe in systems[reference]):
        tasks = [task for task, of_probe in systems[reference] if of_probe == probe]
        grid = [[scores[name, task, probe] for name in systems] for task in tasks]
        ranks = rank_systems(np.array(grid))
        if ranks is not None:
            means = sorted(zip(ranks.mean_ranks, systems, strict=True))
            listed = ", ".join(f"{name} {rank:.2f}" for rank, name in means)
            yield (
                f"mean ranks over {len(tasks)} tasks ({probe}): {listed}; Friedman's p "
                f"{ranks.p_friedman:.3f}"
            )
