"""Names that files of earlier versions hold, and what is written now: the one table of them."""

from collections.abc import Mapping
from typing import Any

NOW = {
    "sides": "modalities",
    "side_counts": "modality_counts",
    "side_idle": "modality_idle",
    "modality": "kind",
}


def renamed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Give entries the names of today; of dotted names, as tensors have, the last part.

    Example:
        >>> renamed({"sides": 2, "codebook.entries.side_idle": 0})
        {'modalities': 2, 'codebook.entries.modality_idle': 0}
    """
    return {_now(name): value for name, value in content.items()}


def _now(name: Any) -> Any:
    """Translate a name; what else YAML has as keys is left to whoever checks settings."""
    if not isinstance(name, str):
        return name
    place, dot, last = name.rpartition(".")
    return place + dot + NOW.get(last, last)
