"""Pairs whose modalities are array fields of a Shar folder: images, video, text, as vectors."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import CutSet
from lhotse.array import Array, TemporalArray

from audiossl.data.items import SUPERVISION
from audiossl.data.pairs import Pair
from audiossl.errors import Skip, UserError


def shar_array_pairs(
    cuts: str | Path, modalities: Mapping[str, str]
) -> Iterator[tuple[Pair, dict[str, np.ndarray]] | Skip]:
    """Read one Shar shard, in order.

    Args:
        cuts: Its file of cuts; the arrays lie beside it.
        modalities: Name of each modality to that of the field it is stored in.

    Raises:
        UserError: A field has no file in this shard.
    """
    cuts = Path(cuts)
    files = {"cuts": [str(cuts)]}
    for name in modalities.values():
        tars = sorted(cuts.parent.glob(f"{name}.{cuts.name.split('.')[1]}.tar*"))
        if not tars:
            raise UserError(f"{cuts.parent}: no field {name!r} for shard {cuts.name}")
        files[name] = [str(tars[0])]
    for cut in CutSet.from_shar(fields=files):
        try:
            arrays = {modality: _array(cut, name) for modality, name in modalities.items()}
        except Skip as error:
            yield error
            continue
        labels = _labels(cut)
        concept = labels.get("concept", cut.id)
        yield Pair(cut.id, {}, concept, labels.get("group", concept), labels), arrays


def _array(cut: Any, name: str) -> np.ndarray:
    # A manifest may hold something else under that name, whose loading would run a command.
    if not isinstance((cut.custom or {}).get(name), Array | TemporalArray):
        raise Skip(f"cut {cut.id}: has no {name}")
    array: np.ndarray = cut.load_custom(name)
    return array


def _labels(cut: Any) -> dict[str, str]:
    custom = {k: str(v) for k, v in (cut.custom or {}).items() if isinstance(v, (str, int, float))}
    for supervision in cut.supervisions:
        for name in SUPERVISION:
            if getattr(supervision, name):
                custom[name] = str(getattr(supervision, name))
    return custom
