"""The table of the Free Music Archive's data set: genre and official split of each track.

    python -m egs.fma.local.labels <folder> <labels.csv>

<folder> holds fma_metadata/tracks.csv and fma_small (or fma_medium, fma_large): one row for each
track whose file is there. The columns of tracks.csv have names of two lines.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from egs.utils.tables import write_table

SUBSETS = ("fma_small", "fma_medium", "fma_large", "fma_full")
"""Where audio may be; each is part of the next, and the first that is there is used."""
BROKEN = ("099134", "108925", "133297")
"""Tracks of fma_small that are empty or cannot be decoded."""
SPLITS = {"training": "train", "validation": "valid", "test": "test"}


def read_tracks(path: Path) -> Iterator[dict[str, str]]:
    """Yield the lines of tracks.csv with names like `track.genre_top`, and `id` of six digits."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        names = [".".join(pair).strip(".") for pair in zip(next(reader), next(reader), strict=True)]
        for line in reader:
            if line and line[0].isdigit():
                yield {**dict(zip(names, line, strict=True)), "id": f"{int(line[0]):06d}"}


def track_path(subset: str, identity: str) -> str:
    """Name the file of a track: its first three digits are its folder."""
    return f"{subset}/{identity[:3]}/{identity}.mp3"


def rows(folder: Path) -> Iterator[dict[str, str]]:
    """Yield a row for each track that is there and not known to be broken."""
    subset = next((name for name in SUBSETS if (folder / name).is_dir()), None)
    if subset is None:
        sys.exit(f"{folder}: none of {', '.join(SUBSETS)} is there")
    for track in read_tracks(folder / "fma_metadata" / "tracks.csv"):
        path = track_path(subset, track["id"])
        if track["id"] not in BROKEN and (folder / path).exists():
            yield {
                "path": path,
                "id": track["id"],
                "genre": track["track.genre_top"],
                "split": SPLITS[track["set.split"]],
                "subset": track["set.subset"],
                "artist": track["artist.id"],
            }


def main(folder: str, output: str) -> None:
    """Write the table."""
    write_table(
        Path(output), rows(Path(folder)), empty=f"{folder}: not one track of tracks.csv is there"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
