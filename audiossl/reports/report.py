"""The report of a set of probes: scores, curves, maps, pairs and facts on one page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from audiossl.atomic_files import check_name, read_json, read_object, reading, write_text
from audiossl.errors import UserError
from audiossl.probing.predictions import seedless
from audiossl.probing.results import EncoderFacts, Results, read_results
from audiossl.reports.curves import Rows
from audiossl.reports.differences import overview_of_differences, task_differences
from audiossl.reports.facts import Record, facts_table, when_and_where
from audiossl.reports.figures import color, curve_svgs, write_figures
from audiossl.reports.leakage import leakage_warnings
from audiossl.reports.maps import Maps, maps_section
from audiossl.reports.page import Section, page, paragraph
from audiossl.reports.pair_pages import pair_cards
from audiossl.reports.pairs import Pair
from audiossl.reports.results import results_markdown
from audiossl.reports.scores import label, overview, task_scores
from audiossl.reports.standings import standings_section


@dataclass(frozen=True)
class Report:
    """What a page is made of."""

    title: str
    results: Results
    """Results of all tasks."""
    maps: Maps | None = None
    runs: Mapping[str, Rows] = field(default_factory=dict)
    """Name of a pretraining run to the lines of its metrics.jsonl."""
    pairs: Mapping[str, Sequence[Pair]] = field(default_factory=dict)
    """Name of a run to some of its pairs."""
    pages: Mapping[str, str] = field(default_factory=dict)
    """Name of a run to the file, beside the report, of its pair inspector."""
    records: Mapping[str, Record] = field(default_factory=dict)
    """Name of a stage to its stage.json."""
    warnings: Sequence[str] = ()
    """Warnings that stand above the results."""


def read_report(
    fitted: Path,
    *,
    title: str,
    runs: Mapping[str, Path],
    rows: Mapping[str, Rows],
    pairs: Mapping[str, Sequence[Pair]],
    pages: Mapping[str, str],
) -> Report:
    """Gather a report from the outputs of stages.

    Args:
        fitted: Output of the stage that fits probes.
        title: Heading.
        runs: Name of each pretraining run to its folder.
        rows: The lines of their metrics.
        pairs: Some of their pairs.
        pages: Files of their pair inspectors.

    Raises:
        UserError: The probes have not been fitted to the end.
    """
    for name in runs:
        check_name(name, "run")
    record = _record(fitted)
    if record is None or not record["finished"] or not (fitted / "scores.json").exists():
        stage = f" (it is that of {record['stage']})" if record and "stage" in record else ""
        raise UserError(f"{fitted}: not the output of a finished recipes.probe.fit{stage}")
    inputs = {name: Path(entry["path"]) for name, entry in record["inputs"].items()}
    behind = {"cuts": inputs["cuts"], **runs, "embed": inputs["embeddings"]}
    by_stage = {name: _record(folder) for name, folder in behind.items()}
    records = {name: entry for name, entry in by_stage.items() if entry} | {"fit": record}
    results = read_results(fitted / "scores.json")
    return Report(
        title=title,
        results=results,
        maps=_maps(fitted / "map", results.encoders),
        runs=rows,
        pairs=pairs,
        pages=pages,
        records=records,
        warnings=leakage_warnings(
            fitted,
            inputs["cuts"],
            {name: by_stage[name] for name in runs} | _others(by_stage["embed"], runs),
        ),
    )


def write_report(report: Report, folder: Path) -> list[str]:
    """Write report.html, its figures as PNG and its tables as Markdown; return their names."""
    # Types are right, but a row may lack the metric of its task.
    with reading(Path("scores.json"), "output of recipes.probe.fit"):
        drawn = write_figures(folder, report.results.tasks, report.runs, report.maps)
        write_text(folder / "report.html", report_page(report))
        results = results_markdown(report.title, report.results, report.records)
    write_text(folder / "results.md", results)
    return ["report.html", "results.md", *drawn]


def report_page(report: Report) -> str:
    """Write the page."""
    tasks = report.results.tasks
    lead = paragraph(when_and_where(list(report.records.values())), "meta")
    sections = [
        Section("At a glance", overview(tasks) + overview_of_differences(tasks) + _how(report)),
        Section("Standings", standings_section(report.results, report.records)),
        Section("Scores", "".join(task_scores(task, task_differences(task)) for task in tasks)),
        Section("Training", _training(report.runs)),
        Section("Maps", maps_section(report.maps) if report.maps else ""),
        Section("Pairs", _pairs(report)),
        Section("How it was made", facts_table(report.records)),
    ]
    return page(report.title, lead, sections)


def _how(report: Report) -> str:
    bootstrap = report.results.bootstrap
    note = (
        "Encoders are frozen. Probes are fitted on train, everything is chosen on valid, and test "
        f"is scored once. Ranges hold {bootstrap.confidence:.0%} of "
        f"{bootstrap.replicates} bootstrap draws of whole groups (recordings, songs) and of "
        "seeds. Baselines are gray; the best point estimate of a column is bold, which its range "
        "may not support. Differences are paired, on the same draws; those whose range leaves out "
        "zero are bold."
    )
    warnings = "".join(paragraph(warning, "flag") for warning in report.warnings)
    return warnings + paragraph(note, "note")


def _training(runs: Mapping[str, Rows]) -> str:
    """Draw a small chart a figure, a line a run."""
    charts = "".join(f"<figure>{svg}</figure>" for svg in curve_svgs(runs).values())
    if not charts:
        return ""
    legend = "".join(
        f'<li><i style="background:{color(index)}"></i>{escape(name)}</li>'
        for index, name in enumerate(runs)
    )
    return f'<ul class="legend">{legend}</ul><div class="grid">{charts}</div>'


def _pairs(report: Report) -> str:
    if not any(report.pairs.values()):
        return ""
    note = (
        "Some of what the runs learn from: an anchor, and the positive that it should find. Click "
        "a spectrogram to hear it; sounds are played at one loudness. Surprise is how little the "
        "trained network expects the pair, in nats."
    )
    parts = []
    for name, pairs in report.pairs.items():
        page_of = report.pages.get(name)
        link = f' <a class="meta" href="{escape(page_of)}">more pairs</a>' if page_of else ""
        parts.append(f"<h3>{escape(name)}{link}</h3>{pair_cards(pairs)}")
    return paragraph(note, "meta") + "".join(parts)


def _record(folder: Path) -> Record | None:
    path = folder / "stage.json"
    if not path.exists():
        return None
    return read_object(path, stage=str, finished=(str, type(None)), identity=dict, inputs=dict)


def _others(embedded: Record | None, runs: Mapping[str, Path]) -> dict[str, Record | None]:
    """Read the records of encoders that were embedded, and whose runs are not in the report."""
    inputs = embedded["inputs"] if embedded else {}
    folders = {
        name.removeprefix("encoders."): Path(entry["path"])
        for name, entry in inputs.items()
        if name.startswith("encoders.")
    }
    return {name: _record(path) for name, path in folders.items() if seedless(name) not in runs}


def _maps(folder: Path, encoders: Mapping[str, EncoderFacts]) -> Maps | None:
    labels = folder / ".labels.json"
    if not labels.exists():
        return None
    known = read_json(labels)
    # Of several seeds, the first is shown.
    systems: dict[str, list[list[float]]] = {}
    for name, facts in encoders.items():
        system = label(seedless(name), facts.role)
        systems.setdefault(system, read_json(folder / f"{name}.json")["places"])
    return Maps(known["projection"], known["ids"], known["labels"], systems)
