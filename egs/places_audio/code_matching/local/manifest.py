"""From Places Audio Captions to a table of labels and a manifest of pairs.

    python local/manifest.py CORPUS FEATURES OUTPUT

CORPUS holds metadata/{train,val}.json: {"data": [{"uttid", "speaker", "asr_text", "wav", "image"}]}
with paths of recordings below CORPUS/wavs, or below "audio_base_path" where that is a folder in it.
FEATURES holds features.npy, (images, positions, dim), and images.txt, the name of each row's image.
Writes OUTPUT/labels.csv, for recipes.prepare.folder, and OUTPUT/pairs.jsonl.
"""

import csv
import json
import sys
from pathlib import Path

SPLITS = {"train": "train", "val": "valid"}


def captions(corpus: Path) -> list[dict[str, str]]:
    """List the captions of both splits."""
    found = []
    for name, split in SPLITS.items():
        content = json.loads((corpus / "metadata" / f"{name}.json").read_text(encoding="utf-8"))
        base = Path(content.get("audio_base_path") or "wavs")
        base = Path("wavs") if base.is_absolute() or not (corpus / base).is_dir() else base
        for entry in content["data"]:
            found.append(
                {
                    "path": str(base / entry["wav"]),
                    "speaker": entry["speaker"],
                    "text": entry.get("asr_text", ""),
                    "image": entry["image"],
                    "split": split,
                }
            )
    return found


def pair(row: dict[str, str], number: int, features: Path, rows: dict[str, int]) -> dict:
    """Make a line of the manifest; an image without features is left to the stage to refuse."""
    image = rows.get(row["image"])
    array = {"kind": "array", "place": str(features / "features.npy"), "row": image}
    cut = str(Path(row["path"]).with_suffix(""))
    sides = {"image": array if image is not None else None}
    sides["caption"] = {"kind": "sound", "place": cut}
    labels = {"split": row["split"], "speaker": row["speaker"], "image": row["image"]}
    return {
        "id": f"{number}:{cut}",
        "concept": row["image"],
        "group": row["image"],
        "labels": labels,
        "sides": sides,
    }


def main(corpus: str, features: str, output: str) -> None:
    """Write both files."""
    folder, rows = Path(output), captions(Path(corpus))
    folder.mkdir(parents=True, exist_ok=True)
    names = (Path(features) / "images.txt").read_text(encoding="utf-8").splitlines()
    numbers = {name: number for number, name in enumerate(names)}
    lines = [pair(r, i, Path(features).resolve(), numbers) for i, r in enumerate(rows)]
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["path", "speaker", "text", "image", "split"])
        writer.writeheader()
        writer.writerows(rows)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (folder / "pairs.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
