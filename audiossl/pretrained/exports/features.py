"""Frames of clips as Kaldi's archives, and a manifest that lhotse reads.

`feats.ark` holds float32 matrices, `feats.scp` the place of each, by names without blanks that
`wav.scp` gives back to files; `features.jsonl.gz` describes the same matrices to lhotse, which
reads them with kaldi_native_io.
"""

import gzip
import json
import re
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float

from audiossl.audio.files import audio_info
from audiossl.errors import UserError
from audiossl.pretrained.certificate import Difference
from audiossl.pretrained.embed import embed_files
from audiossl.pretrained.exports.forms import Export, check_frames

USE = """
    lhotse.FeatureSet.from_file("features.jsonl.gz")
    kaldiio.load_scp("feats.scp")

from this folder, or by whole paths: they are those of where it was written.
"""


def write(place: Path, export: Export) -> list[Difference]:
    """Write archives of the frames of clips, read them back and compare.

    Raises:
        UserError: The encoder has no frames, a clip cannot be read, or two have one name.
    """
    check_frames(export, "features")
    found = embed_files(export.clips, export.encoder, frames=True, device="cpu")
    order = sorted(range(len(found.paths)), key=lambda index: _name(found.paths[index]))
    names = [_name(found.paths[index]) for index in order]
    matrices = [found.values[index].numpy() for index in order]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"--clips: two files are called {min(twice)}: give them other names")
    place.mkdir(parents=True)
    lines: dict[str, list[str]] = {"feats.scp": [], "utt2num_frames": [], "wav.scp": []}
    described = []
    with (place / "feats.ark").open("wb") as archive:
        for index, name, matrix in zip(order, names, matrices, strict=True):
            offset = write_matrix(archive, name, matrix)
            path = found.paths[index]
            lines["feats.scp"].append(f"{name} {export.output / 'feats.ark'}:{offset}")
            lines["utt2num_frames"].append(f"{name} {len(matrix)}")
            lines["wav.scp"].append(f"{name} {path.resolve()}")
            described.append(_described(export, name, path, matrix))
    for file, content in lines.items():
        (place / file).write_text("".join(f"{line}\n" for line in content), "utf-8")
    with gzip.open(place / "features.jsonl.gz", "wt", encoding="utf-8") as manifest:
        manifest.writelines(f"{json.dumps(one)}\n" for one in described)
    return [_compared(place, dict(zip(names, matrices, strict=True)))]


def write_matrix(archive: IO[bytes], name: str, matrix: Float[np.ndarray, "rows columns"]) -> int:
    """Append a matrix in Kaldi's binary form; returns the offset that a scp names."""
    archive.write(f"{name} ".encode())
    offset = archive.tell()
    rows, columns = matrix.shape
    archive.write(b"\0BFM " + struct.pack("<bibi", 4, rows, 4, columns))
    archive.write(matrix.astype("<f4").tobytes())
    return offset


def read_matrix(archive: IO[bytes], offset: int) -> Float[np.ndarray, "rows columns"]:
    """Read the matrix at an offset."""
    archive.seek(offset)
    head = archive.read(15)
    if head[:5] != b"\0BFM ":
        raise UserError(f"{archive.name}: no matrix of float32 at {offset}: damaged?")
    _, rows, _, columns = struct.unpack("<bibi", head[5:])
    return np.frombuffer(archive.read(4 * rows * columns), "<f4").reshape(rows, columns)


def _name(path: Path) -> str:
    """Name a clip by its file, without the ending and without blanks, which end a name."""
    return re.sub(r"\s", "_", path.with_suffix("").name)


def _described(export: Export, name: str, path: Path, matrix: np.ndarray) -> dict[str, Any]:
    encoder, info = export.encoder, audio_info(path)
    return {
        "type": f"audiossl {export.source}",
        "num_frames": len(matrix),
        "num_features": matrix.shape[1],
        "frame_shift": 1.0 / encoder.frame_rate,
        "sampling_rate": encoder.sample_rate,
        "start": 0,
        "duration": info.num_samples / info.sample_rate,
        "storage_type": "kaldiio",
        "storage_path": str(export.output / "feats.scp"),
        "storage_key": name,
        "recording_id": name,
        "channels": 0,
    }


def _compared(place: Path, matrices: dict[str, np.ndarray]) -> Difference:
    """Read all matrices back."""
    largest, total = 0.0, 0.0
    with (place / "feats.ark").open("rb") as archive:
        for line in (place / "feats.scp").read_text("utf-8").splitlines():
            name, _, where = line.partition(" ")
            again = read_matrix(archive, int(where.rpartition(":")[2]))
            same = again.shape == matrices[name].shape
            gap = np.abs(again - matrices[name]).max(initial=0.0) if same else np.nan
            largest = max(largest, float(gap)) if same else float("nan")
            total += float(np.square(matrices[name]).mean()) if len(again) else 0.0
    return Difference("frames", largest, (total / max(1, len(matrices))) ** 0.5)
