"""Stage: one page of scores, training curves, maps and pairs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiossl import distributed
from audiossl.atomic_files import check_name, write_text
from audiossl.configs import Count, Whole
from audiossl.reports.pair_pages import pairs_page, some_of_each
from audiossl.reports.pairs import Pair, inspect_pairs
from audiossl.reports.report import read_report, write_report
from audiossl.training.runs import has_pairs, open_run
from audiossl.training.writers import read_metrics
from recipes.stage import Resources, Stage, main


@dataclass(frozen=True, kw_only=True)
class Config:
    """Write report.html, figures as PNG, tables as results.md, and a pair inspector per run."""

    fitted: Path
    """Output of `recipes.probe.fit`."""
    output: Path
    """Folder of the pages."""
    runs: dict[str, Path] = field(default_factory=dict)
    """Outputs of pretraining runs by name, for curves and pairs."""
    title: str = "Scores of the encoders"
    """Heading of the page."""
    pairs: Whole = 6
    """Number of pairs of each run in the report; all that are inspected have a page of their
    own."""
    inspected: Count = 48
    """Number of pairs in an inspector: the most surprising half, and as many at random."""
    batches: Count = 8
    """Number of batches that these are chosen from."""
    resources: Resources = field(default_factory=Resources)
    """Device and worker processes."""


def report(config: Config, stage: Stage) -> dict[str, Any]:
    """Gather and write."""
    for name in config.runs:
        check_name(name, "run name")
    if not distributed.is_first():
        return {}
    # Methods gather candidates from all ranks, and the others are not there.
    with distributed.alone():
        return _report(config, stage)


def _report(config: Config, stage: Stage) -> dict[str, Any]:
    runs = {name: path for name, path in config.runs.items() if has_pairs(path)}
    pairs = {name: _inspected(config, stage, name, path) for name, path in runs.items()}
    content = read_report(
        config.fitted,
        title=config.title,
        runs=config.runs,
        rows={name: read_metrics(path) for name, path in config.runs.items()},
        pairs={name: some_of_each(inspected, config.pairs) for name, inspected in pairs.items()},
        pages={name: f"pairs-{name}.html" for name in runs},
    )
    written = write_report(content, config.output)
    written += [f"pairs-{name}.html" for name in runs]
    stage.log.info("open %s", config.output / "report.html")
    return {"files": written}


def _inspected(config: Config, stage: Stage, name: str, path: Path) -> list[Pair]:
    run = open_run(path)
    method = run.method.to(stage.device)
    pairs = inspect_pairs(run.views, method, batches=config.batches, device=stage.device)
    about = f"{path} after {run.step} steps"
    content = pairs_page(pairs, f"Pairs of {name}", about, most=config.inspected)
    write_text(config.output / f"pairs-{name}.html", content)
    return pairs


if __name__ == "__main__":
    main(Config, report, "recipes.probe.report")
