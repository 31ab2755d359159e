"""List LibriSpeech: path, speaker, text and split of every utterance.

    python local/labels.py download/LibriSpeech exp/labels.csv

The corpus has <part>/<speaker>/<chapter>/<utterance>.flac, and beside them the transcripts of a
chapter, <speaker>-<chapter>.trans.txt, one utterance a line.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from egs.utils.tables import write_table

SPLITS = {"train": "train", "dev": "valid", "test": "test"}
"""First word of a part's name, and the split that it is of."""


def rows(folder: Path) -> Iterator[dict[str, str]]:
    """Read all transcripts."""
    for transcripts in sorted(folder.rglob("*.trans.txt")):
        place = transcripts.parent.relative_to(folder)
        part, speaker = place.parts[-3], place.parts[-2]
        for line in transcripts.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            yield {
                "path": str(place / f"{name}.flac"),
                "part": part,
                "split": SPLITS[part.partition("-")[0]],
                "speaker": speaker,
                "text": text,
            }


def main(folder: str, output: str) -> None:
    """Write the table."""
    empty = f"{folder}: no *.trans.txt in it: is it LibriSpeech, unpacked?"
    write_table(Path(output), rows(Path(folder)), empty=empty)


if __name__ == "__main__":
    main(*sys.argv[1:])
