"""The table of MUSDB18-HQ: its songs and their splits.

    python -m egs.musdb18.local.labels <folder> <labels.csv>

<folder> holds train and test, a folder a song: mixture, drums, bass, other and vocals as wav. Of
the 100 songs in train, 14 are for validation; which, the package `musdb` lists (mus.yaml).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from egs.utils.tables import write_table

VALID = frozenset((
    "Actions - One Minute Smile", "Clara Berry And Wooldog - Waltz For My Victims",
    "Johnny Lokke - Promises & Lies", "Patrick Talbot - A Reason To Leave", "Triviul - Angelsaint",
    "Alexander Ross - Goodbye Bolero", "Fergessen - Nos Palpitants", "Leaf - Summerghost",
    "Skelpolu - Human Mistakes", "Young Griffo - Pennies", "ANiMAL - Rockshow",
    "James May - On The Line", "Meaxic - Take A Step", "Traffic Experiment - Sirens",
))  # fmt: skip


def split_of(part: str, song: str) -> str:
    """Name the split of a song by the part of the corpus that it is in, and its name."""
    if part not in ("train", "test"):
        raise ValueError(f"{part!r}: MUSDB18 has the parts train and test")
    return "valid" if part == "train" and song in VALID else part


def rows(folder: Path) -> Iterator[dict[str, str]]:
    """Yield a row for each folder with a mixture."""
    for part in ("train", "test"):
        for mixture in sorted((folder / part).glob("*/mixture.*")):
            song = mixture.parent.name
            split = split_of(part, song)
            yield {
                "path": f"{part}/{song}",
                "song": song,
                "split": split,
                "artist": song.split(" - ")[0],
            }


def main(folder: str, output: str) -> None:
    """Write the table."""
    write_table(
        Path(output),
        rows(Path(folder)),
        empty=f"{folder}: no train/<song>/mixture.wav (stem.mp4 files are not MUSDB18-HQ)",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
