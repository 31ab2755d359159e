"""Manifests of pairs of images, by features computed elsewhere, and their spoken captions.

FEATURES holds features.npy, (images, positions, dim), and images.txt, the name of each row's image.
"""

import csv
import json
from pathlib import Path


def pair(row: dict[str, str], number: int, features: Path, rows: dict[str, int]) -> dict:
    """Make a line of the manifest; an image without features is left to the stage to refuse."""
    image = rows.get(row["image"])
    array = {"kind": "array", "place": str(features / "features.npy"), "row": image}
    cut = str(Path(row["path"]).with_suffix(""))
    modalities = {"image": array if image is not None else None}
    modalities["caption"] = {"kind": "sound", "place": cut}
    labels = {"split": row["split"], "speaker": row["speaker"], "image": row["image"]}
    return {
        "id": f"{number}:{cut}",
        "concept": row["image"],
        "group": row["image"],
        "labels": labels,
        "modalities": modalities,
    }


def write_manifest(rows: list[dict[str, str]], features: str, output: str) -> None:
    """Write OUTPUT/labels.csv and OUTPUT/pairs.jsonl for captions, each with its image."""
    folder = Path(output)
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
