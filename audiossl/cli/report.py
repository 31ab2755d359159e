"""Write a page of results from finished stages, or a page of the pairs of a run, with audio.

FOLDER is the output of recipes.probe.fit, or, with --pairs, of a stage that pretrains on pairs; a
run that is still going on will do.

example: audiossl report exp/fit --run cola=exp/cola --output exp/report
example: audiossl report exp/cola --pairs --output exp/pairs.html
"""

import argparse
from pathlib import Path

import torch

from audiossl.atomic_files import write_text
from audiossl.cli.terminal import as_is, count
from audiossl.errors import UserError
from audiossl.pretrained.load import load_encoder
from audiossl.reports.pair_pages import pairs_page
from audiossl.reports.pairs import inspect_pairs
from audiossl.reports.report import read_report, write_report
from audiossl.training.runs import open_run
from audiossl.training.writers import read_metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    as_is(parser)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, required=True, help="folder, or with --pairs a file")
    parser.add_argument("--title", default="", help="heading of the page")
    parser.add_argument(
        "--run", action="append", default=[], metavar="NAME=FOLDER",
        help="a pretraining run, for its curves; may be repeated",
    )  # fmt: skip
    parser.add_argument("--pairs", action="store_true", help="a page of the run's pairs")
    parser.add_argument("--batches", type=count, default=8, help="batches of pairs: %(default)s")
    parser.add_argument("--most", type=count, default=48, help="pairs on the page: %(default)s")
    parser.add_argument("--encoder", default="", help="score pairs with this encoder instead")


def run(arguments: argparse.Namespace) -> None:
    """Write the page."""
    if arguments.pairs:
        _write_pairs(arguments)
        return
    runs = dict(_named(word) for word in arguments.run)
    report = read_report(
        arguments.folder,
        title=arguments.title or "Scores of the encoders",
        runs=runs,
        rows={name: read_metrics(path) for name, path in runs.items()},
        pairs={},
        pages={},
    )
    written = write_report(report, arguments.output)
    print(f"{arguments.output}: {', '.join(written)}")


def _write_pairs(arguments: argparse.Namespace) -> None:
    output: Path = arguments.output
    if output.suffix != ".html":
        raise UserError(f"--output {output}: name an .html file")
    opened = open_run(arguments.folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_encoder(arguments.encoder) if arguments.encoder else opened.method
    pairs = inspect_pairs(opened.views, model.to(device), batches=arguments.batches, device=device)
    judge = arguments.encoder or f"{arguments.folder} after {opened.step} steps"
    title = arguments.title or f"Pairs of {arguments.folder.name}"
    write_text(output, pairs_page(pairs, title, judge, most=arguments.most))
    print(f"{output}: {len(pairs)} pairs scored")


def _named(word: str) -> tuple[str, Path]:
    name, separator, folder = word.partition("=")
    if not separator or not Path(folder).is_dir():
        raise UserError(f"--run {word}: expected NAME=FOLDER, the output of a pretrain stage")
    return name, Path(folder)
