"""List AudioSet: path, tags and split of every clip that is on disk.

    python local/labels.py download/audioset exp/labels.csv

Clips are <folder>/<part>/<YouTube id>_<anything>.<wav, flac, ...>, parts balanced_train,
unbalanced_train and eval; <part>_segments.csv, as they are published, lie beside the parts.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from egs.utils.tables import write_table

PARTS = {"balanced_train": "train", "unbalanced_train": "train", "eval": "test"}
"""Parts, and the split that each is of."""
SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
YOUTUBE_ID = 11
"""Characters of an id, which may hold any of - and _."""


def rows(folder: Path) -> Iterator[dict[str, str]]:
    """Join clips with their tags."""
    for part, split in PARTS.items():
        table = folder / f"{part}_segments.csv"
        tags = dict(_segments(table)) if table.exists() else {}
        for clip in sorted((folder / part).rglob("*")):
            name = clip.stem.removeprefix("Y")
            labels = tags.get(clip.stem[:YOUTUBE_ID]) or tags.get(name[:YOUTUBE_ID])
            if clip.suffix in SUFFIXES and labels:
                place = clip.relative_to(folder)
                yield {"path": str(place), "part": part, "split": split, "tags": labels}


def _segments(table: Path) -> Iterator[tuple[str, str]]:
    """Read a table whose lines are: id, start, end, "tag,tag"."""
    with table.open(encoding="utf-8", newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        for row in csv.reader(lines, skipinitialspace=True):
            yield row[0], row[3].replace(",", "|")


def main(folder: str, output: str) -> None:
    """Write the table."""
    empty = f"{folder}: no clip of balanced_train, unbalanced_train or eval has tags"
    write_table(Path(output), rows(Path(folder)), empty=empty)


if __name__ == "__main__":
    main(*sys.argv[1:])
