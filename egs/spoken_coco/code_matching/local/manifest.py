"""From SpokenCOCO to a table of labels and a manifest of pairs.

    python local/manifest.py CORPUS FEATURES OUTPUT

CORPUS holds SpokenCOCO_{train,val}.json: {"data": [{"image", "captions": [{"text", "speaker",
"uttid", "wav"}]}]}, with paths of recordings below CORPUS. An image has five captions, which are of
one concept: none is a negative of another. FEATURES and what is written: as of places_audio.
"""

import json
import sys
from pathlib import Path

from egs.utils.spoken_images import write_manifest

SPLITS = {"train": "train", "val": "valid"}


def captions(corpus: Path) -> list[dict[str, str]]:
    """List the captions of both splits."""
    return [
        {
            "path": caption["wav"],
            "speaker": caption["speaker"],
            "text": caption.get("text", ""),
            "image": entry["image"],
            "split": split,
        }
        for name, split in SPLITS.items()
        for entry in json.loads((corpus / f"SpokenCOCO_{name}.json").read_text(encoding="utf-8"))[
            "data"
        ]
        for caption in entry["captions"]
    ]


def main(corpus: str, features: str, output: str) -> None:
    """Write both files."""
    write_manifest(captions(Path(corpus)), features, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
