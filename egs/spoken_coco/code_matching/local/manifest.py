"""From SpokenCOCO to a table of labels and a manifest of pairs.

    python local/manifest.py CORPUS FEATURES OUTPUT

CORPUS holds SpokenCOCO_{train,val}.json: {"data": [{"image", "captions": [{"text", "speaker",
"uttid", "wav"}]}]}, with paths of recordings below CORPUS. An image has five captions, which are of
one concept: none is a negative of another. FEATURES and what is written: as of places_audio.
"""

import csv
import json
import sys
from pathlib import Path

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
