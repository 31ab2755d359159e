"""Writing codes beside a corpus; what is written, and how it is read, says `codes`."""

import io
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from lhotse.array import Array, TemporalArray
from lhotse.shar.utils import to_shar_placeholder

from audiossl.atomic_files import read_json
from audiossl.data.codes import CodeFacts
from audiossl.data.columns import write_part
from audiossl.data.layout import field_file, part_file
from audiossl.data.preparing import finish_corpus
from audiossl.data.shar import ShardTar
from audiossl.nn.codes import Codes


def write_codes(
    folder: str | Path, field: str, shard: int, codes: Iterable[tuple[str, Codes | None]]
) -> tuple[str, ...]:
    """Write the codes of the cuts of one shard, with their columns.

    Args:
        folder: Where to.
        field: Name of the field.
        shard: Number of the shard.
        codes: Id and codes of every cut, in order; None for a cut that has none.

    Returns:
        The files written, relative to `folder`.
    """
    folder = Path(folder)
    rows: list[tuple[int, int, int]] = []
    with ShardTar(folder / field_file(field, shard)) as tar:
        for cut_id, coded in codes:
            if coded is None:
                tar.add_missing(cut_id)
                rows.append((0, 0, 0))
                continue
            content, header = _array_bytes(coded.values.numpy())
            tar.add(f"{cut_id}.npy", content, _described(coded))
            receipt = coded.receipt()
            rows.append((header, receipt["num_frames"], int(receipt["checksum"], 16)))
    table = np.array(rows, np.int64).reshape(-1, 3)
    places = np.array(tar.places, np.int64).reshape(-1, 2)
    columns = {
        "offset": places[:, 0] + table[:, 0],
        "num_frames": table[:, 1],
        "checksum": table[:, 2].astype(np.uint32),
    }
    write_part(folder / part_file(field, shard), columns)
    return field_file(field, shard), part_file(field, shard)


def finish_codes(
    corpus_folder: str | Path, folder: str | Path, field: str, facts: CodeFacts
) -> None:
    """Join the columns of all shards; the folder can then be opened beside its corpus."""
    corpus_folder = Path(corpus_folder)
    folder = Path(folder)
    described = read_json(corpus_folder / "corpus.json")
    known = {"cuts": described["cuts"], "codes": {field: asdict(facts)}}
    finish_corpus(folder, described["num_shards"], [], known, joined=[field])


def _array_bytes(values: np.ndarray) -> tuple[bytes, int]:
    """Serialize an array as numpy does, and say where its values begin."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(values), allow_pickle=False)
    content = buffer.getvalue()
    return content, len(content) - values.nbytes


def _described(codes: Codes) -> dict[str, Any]:
    array = Array(
        storage_type="shar", storage_path="", storage_key="", shape=list(codes.values.shape)
    )
    described = TemporalArray(array, temporal_dim=0, frame_shift=1 / codes.frame_rate, start=0)
    return dict(to_shar_placeholder(described).to_dict())
