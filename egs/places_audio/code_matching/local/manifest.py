"""From Places Audio Captions to a table of labels and a manifest of pairs.

    python local/manifest.py CORPUS FEATURES OUTPUT

CORPUS holds metadata/{train,val}.json: {"data": [{"uttid", "speaker", "asr_text", "wav", "image"}]}
with paths of recordings below CORPUS/wavs, or below "audio_base_path" where that is a folder in it.
FEATURES holds features.npy, (images, positions, dim), and images.txt, the name of each row's image.
Writes OUTPUT/labels.csv, for recipes.prepare.folder, and OUTPUT/pairs.jsonl.
"""

import json
import sys
from pathlib import Path

from egs.utils.spoken_images import write_manifest

SPLITS = {"train": "train", "val": "valid"}


def captions(corpus: Path) -> list[dict[str, str]]:
    """List the captions of both splits."""
    pairs = []
    for name, split in SPLITS.items():
        content = json.loads((corpus / "metadata" / f"{name}.json").read_text(encoding="utf-8"))
        base = Path(content.get("audio_base_path") or "wavs")
        base = Path("wavs") if base.is_absolute() or not (corpus / base).is_dir() else base
        for entry in content["data"]:
            pairs.append(
                {
                    "path": str(base / entry["wav"]),
                    "speaker": entry["speaker"],
                    "text": entry.get("asr_text", ""),
                    "image": entry["image"],
                    "split": split,
                }
            )
    return pairs


def main(corpus: str, features: str, output: str) -> None:
    """Write both files."""
    write_manifest(captions(Path(corpus)), features, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
