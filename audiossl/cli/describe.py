"""Say what a corpus holds, or what an encoder gives.

Of a corpus: hours, sample rates, durations, label counts. Of an encoder (kind:path, or a folder of
ours): rates, dimensions, layers, and at which point of the network its output is taken.

PATH is a folder of audio (with --labels, if there are any), a Kaldi data directory, a manifest of
lhotse, or the output of a prepare stage; or audio files and patterns ("clips/**/*.wav").
Headers are read, nothing is decoded.

example: audiossl describe egs/mini/data --labels egs/mini/data/speech.csv
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from audiossl.cli.columns import columns
from audiossl.cli.encoder_facts import as_rows, encoder_facts, names_encoder
from audiossl.cli.terminal import as_is
from audiossl.data.description import Description, describe

_MOST = 12
"""Values of a label that are listed."""
_REASONS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    as_is(parser)
    parser.add_argument("path", nargs="+", metavar="PATH")
    parser.add_argument(
        "--labels", type=Path, action="append", default=[], metavar="TABLE",
        help="CSV or TSV with a column `path`; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--only-labeled", action="store_true", help="leave out audio that no table names"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, with every label value")


def run(arguments: argparse.Namespace) -> None:
    """Describe and print."""
    paths = arguments.path[0] if len(arguments.path) == 1 else arguments.path
    if isinstance(paths, str) and names_encoder(paths):
        facts = encoder_facts(paths)
        print(json.dumps(facts, indent=2) if arguments.json else columns(as_rows(facts)))
        return
    description = describe(paths, arguments.labels, only_labeled=arguments.only_labeled)
    print(
        json.dumps(_plain(description), indent=2, ensure_ascii=False)
        if arguments.json
        else _text(description)
    )


def _text(description: Description) -> str:
    unusable = len(description.unusable)
    rows = [
        ("kind", description.kind),
        (
            "cuts",
            f"{description.num_cuts}{f', and {unusable} that cannot be used' if unusable else ''}",
        ),
        ("hours", f"{sum(description.durations) / 3600:.3f}{_unknown(description)}"),
    ]
    if description.durations:
        low, middle, high = np.quantile(description.durations, [0.05, 0.5, 0.95])
        rows.append(
            (
                "seconds",
                f"{min(description.durations):.3f} to {max(description.durations):.3f}, "
                f"median {middle:.2f}, "
                f"9 of 10 between {low:.2f} and {high:.2f}",
            )
        )
    for name in ("rates", "channels", "formats", "stems"):
        counts: Counter[str] = getattr(description, name)
        if counts:
            rows.append((name, _listed(counts)))
    text = columns(rows)
    if description.labels:
        text += "\nlabels\n" + columns([_label(*item) for item in description.labels.items()], "  ")
    reasons = [f"  {entry['reason']}" for entry in description.unusable[:_REASONS]]
    return text + ("\nunusable\n" + "\n".join(reasons) if reasons else "")


def _unknown(description: Description) -> str:
    return (
        f" ({description.unknown} cuts have a duration that only decoding tells)"
        if description.unknown
        else ""
    )


def _label(name: str, counts: Counter[str]) -> tuple[str, str, str]:
    values = f"{len(counts)} value{'s' if len(counts) != 1 else ''}"
    # What differs from cut to cut, as a text does, is no class.
    many = len(counts) > _MOST and counts.most_common(1)[0][1] < 3
    return name, values, "" if many else _listed(counts)


def _listed(counts: Counter[str]) -> str:
    shown = ", ".join(f"{value} {count}" for value, count in counts.most_common(_MOST))
    return shown + (f", and {len(counts) - _MOST} more" if len(counts) > _MOST else "")


_COUNTED = ("rates", "channels", "formats", "stems")


def _plain(description: Description) -> dict[str, Any]:
    durations = description.durations
    return {
        "kind": description.kind,
        "cuts": description.num_cuts,
        "hours": round(sum(durations) / 3600, 6),
        "seconds": {
            name: round(float(np.quantile(durations, share)), 6)
            for name, share in {"shortest": 0, "median": 0.5, "longest": 1}.items()
            if durations
        },
        "unknown_durations": description.unknown,
        **{name: dict(getattr(description, name)) for name in _COUNTED},
        "labels": {name: dict(counts) for name, counts in description.labels.items()},
        "unusable": description.unusable,
    }
