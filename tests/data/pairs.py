"""Small pairs for tests of what reads them."""

import json
from pathlib import Path

import numpy as np


def write_manifest(folder: Path, count: int = 12, **changes: object) -> Path:
    """Write pairs of an array of frames and a text, three pairs a concept."""
    generator = np.random.default_rng(0)
    images = generator.standard_normal((count, 2, 3, 5)).astype(np.float32)
    np.save(folder / "images.npy", images)
    rows = [
        {
            "id": f"clip-{index}",
            "concept": f"concept-{index // 3}",
            "labels": {
                "split": "train" if index % 4 else "valid",
                "kind": "odd" if index % 2 else "even",
            },
            "modalities": {
                "image": {"kind": "array", "place": "images.npy", "row": index},
                "text": {"kind": "text", "place": f"a text {index}"},
            },
        }
        for index in range(count)
    ]
    for index, row in changes.items():
        rows[int(index.removeprefix("row_"))] |= row
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
