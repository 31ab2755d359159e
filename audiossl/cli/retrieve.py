"""Find clips by clips: does the nearest one share a label? Recall at k and mAP, without training.

FOLDER holds audio, and a table says what each file is. Clips of the same --group (recording,
speaker) are no candidates of one another; by default each file is a group of its own.

example: audiossl retrieve egs/mini/data --labels egs/mini/data/sounds.csv --label category
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from audiossl.cli.columns import columns, markdown
from audiossl.cli.terminal import as_is, count
from audiossl.data.folder import folder_items
from audiossl.data.items import Item
from audiossl.errors import UserError, did_you_mean
from audiossl.pretrained.embed import DEFAULT, embed_files
from audiossl.probing.bootstrap import BootstrapConfig, Interval
from audiossl.probing.clip_retrieval import ClipRetrieval, retrieve_clips


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    as_is(parser)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--labels", type=Path, action="append", required=True, metavar="TABLE",
        help="CSV or TSV with a column `path`; may be repeated",
    )  # fmt: skip
    parser.add_argument("--label", required=True, help='what is shared; values are split at "|"')
    parser.add_argument("--group", default="", help="label of clips that do not find one another")
    parser.add_argument("--encoder", default=DEFAULT, help="as embed takes it; %(default)s")
    parser.add_argument("--replicates", type=count, default=1000, help="draws: %(default)s")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--format", choices=("text", "markdown"), default="text")


def run(arguments: argparse.Namespace) -> None:
    """Embed, retrieve and print."""
    items = _labeled(arguments)
    groups = np.array([item.labels.get(arguments.group, item.source) for item in items])
    found = retrieve_clips(
        embed_files([item.source for item in items], arguments.encoder, device=arguments.device)
        .stacked()
        .numpy(),
        _classes([item.labels[arguments.label] for item in items]),
        groups,
        BootstrapConfig(replicates=arguments.replicates),
    )
    rows = [("metric", "score", "chance"), *_rows(found)]
    print({"text": columns, "markdown": markdown}[arguments.format](rows))
    print(f"{found.num_queries} queries of {len(items)} clips, {len(set(groups))} groups")


def _labeled(arguments: argparse.Namespace) -> list[Item]:
    """List the files that have the label, and the group if one is asked for."""
    items = list(folder_items(arguments.folder, arguments.labels, only_labeled=True))
    names = [arguments.label, *filter(None, [arguments.group])]
    known = {name for item in items for name in item.labels}
    for name in names:
        if name not in known:
            raise UserError(
                f"{name or repr(name)}: no clip has this label{did_you_mean(name, known)} "
                f"(there are {', '.join(sorted(known))})"
            )
    return [item for item in items if all(name in item.labels for name in names)]


def _classes(values: Sequence[str]) -> np.ndarray:
    parts = [set(filter(None, value.split("|"))) for value in values]
    names = sorted(set().union(*parts))
    return np.array([[name in part for name in names] for part in parts])


def _rows(found: ClipRetrieval) -> Iterator[tuple[str, str, str]]:
    for k, score in found.recall.items():
        yield _row(f"recall@{k}", score, found.recall_chance[k])
    yield _row("mAP", found.average_precision, found.average_precision_chance)


def _row(name: str, one: Interval, chance: float) -> tuple[str, str, str]:
    return name, f"{one.score:.3f} [{one.low:.3f}, {one.high:.3f}]", f"{chance:.3f}"
