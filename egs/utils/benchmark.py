"""Print the scores of a benchmark's tasks as Markdown, and the mean over them, with their list.

    python egs/utils/benchmark.py exp/*/fit/scores.json [--weights weights.yaml]

Each task has its own metric. An encoder that lacks a task has no mean: means over different tasks
are not to be compared. With weights (task to number, of each task) there is the weighted mean, too.
"""

import argparse
import sys
from pathlib import Path

import yaml

from audiossl.probing.results import NO_PROBE, SEED, read_results


def scores_of(paths: list[Path]) -> dict[tuple[str, str], dict[str, float]]:
    """Read the main score of each task, where it is defined: (encoder, probe) to task to score."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for path in paths:
        for task in read_results(path).tasks:
            for row in task.rows:
                score = task.score(row).score
                if row.role != SEED and row.probe != NO_PROBE and score is not None:
                    found.setdefault((row.encoder, row.probe), {})[task.name] = score
    return found


def table(found: dict[tuple[str, str], dict[str, float]], weights: dict[str, float]) -> list[str]:
    """Write a line for each encoder and probe."""
    tasks = sorted({task for scores in found.values() for task in scores})
    if lacking := [task for task in tasks if weights and task not in weights]:
        raise SystemExit(f"weights: none for {', '.join(lacking)}")
    means = ["mean", "weighted mean"] if weights else ["mean"]
    lines = ["| " + " | ".join(["encoder", "probe", *tasks, *means]) + " |"]
    lines.append("|" + "---|" * (2 + len(tasks) + len(means)))
    for (encoder, probe), scores in found.items():
        cells = [f"{scores[task]:.3f}" if task in scores else "" for task in tasks]
        whole = all(task in scores for task in tasks)
        cells.append(f"{sum(scores.values()) / len(tasks):.3f}" if whole else "")
        if weights:
            total = sum(weights[task] for task in tasks)
            weighted = sum(weights[task] * scores.get(task, 0.0) for task in tasks) / total
            cells.append(f"{weighted:.3f}" if whole else "")
        lines.append("| " + " | ".join([encoder, probe, *cells]) + " |")
    return [*lines, "", f"Means are over {len(tasks)} tasks: {', '.join(tasks)}."]


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", nargs="+", type=Path)
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    weights = yaml.safe_load(arguments.weights.read_text("utf-8")) if arguments.weights else {}
    sys.stdout.write("\n".join([*table(scores_of(arguments.scores), weights), ""]))


if __name__ == "__main__":
    main()
