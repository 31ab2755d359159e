"""The table of MagnaTagATune: tags of each clip, and its two splits, by rule.

    python -m egs.magnatagatune.local.labels <folder> <labels.csv>

<folder> holds annotations_final.csv and the folders 0 to f of clips. Two variants of the tagging
task are in use, and their figures must not be mixed:

    split             "filtered": clips with one of the 50 most frequent tags, longer than 29.1 s
    split_unfiltered  every clip that can be read; those without a tag are negatives

In both, the first letter of a clip's path decides: 0 to b train, c valid, d to f test.
"""

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import soundfile

from egs.utils.tables import write_table

TAGS = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast",
    "piano", "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male",
    "singing", "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman",
    "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man", "classic", "choir", "voice",
    "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello", "no voice",
    "weird", "country", "metal", "female voice", "choral",
)  # fmt: skip
"""The 50 most frequent tags, most frequent first."""
LONGER_THAN = 29.1
"""Seconds, for the filtered split."""


def split_of(path: str) -> str:
    """Name the split of a clip by the folder that it is in."""
    folder = path[0].lower()
    if folder not in "0123456789abcdef" or path[1:2] != "/":
        raise ValueError(f"{path!r}: expected a path that begins with a folder 0 to f")
    return "train" if folder < "c" else "valid" if folder == "c" else "test"


def filtered_split(path: str, tags: Sequence[str], seconds: float) -> str:
    """Name the split of a clip in the filtered variant; empty if it has no part in it."""
    return split_of(path) if tags and seconds > LONGER_THAN else ""


def song_of(path: str) -> str:
    """Name the song that a clip is cut from: its path without the seconds at its end."""
    return re.sub(r"-\d+-\d+\.mp3$", "", path)


def rows(folder: Path) -> Iterator[dict[str, str]]:
    """Yield a row for each clip that can be read; the corpus has three files of no length."""
    with (folder / "annotations_final.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file, delimiter="\t"):
            path = line["mp3_path"]
            seconds = _seconds(folder / path)
            if seconds > 0:
                tags = [tag for tag in TAGS if line.get(tag) == "1"]
                yield {
                    "path": path,
                    "id": line["clip_id"],
                    "tags": "|".join(tags),
                    "split": filtered_split(path, tags, seconds),
                    "split_unfiltered": split_of(path),
                    "song": song_of(path),
                }


def _seconds(path: Path) -> float:
    """Measure a clip; 0 if it is missing or cannot be read."""
    try:
        return float(soundfile.info(path).duration)
    except (OSError, soundfile.LibsndfileError):
        return 0.0


def main(folder: str, output: str) -> None:
    """Write the table."""
    write_table(
        Path(output),
        rows(Path(folder)),
        empty=f"{folder}: not one clip of annotations_final.csv is there",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
