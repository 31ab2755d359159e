"""Choosing cuts, or pairs of them, by their labels."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Int

from audiossl.errors import UserError

Where = Mapping[str, Sequence[str]]
"""Labels, and the values of each that are chosen."""


def is_chosen(labels: Mapping[str, str], where: Where) -> bool:
    """Whether labels have one of the given values, for every label given.

    >>> is_chosen({"split": "test", "kind": "song"}, {"split": ["valid", "test"]})
    True
    """
    return all(labels.get(name) in values for name, values in where.items())


def select(rows: Iterable[Mapping[str, str]], where: Where, what: str) -> Int[np.ndarray, " _"]:
    """Number the rows that are chosen.

    Args:
        rows: Labels of each.
        where: Which.
        what: What they are, for the message: "exp/cuts: no cut".

    Raises:
        UserError: There are none.
    """
    chosen = [index for index, labels in enumerate(rows) if is_chosen(labels, where)]
    if not chosen:
        asked = ", ".join(f"{name} in {list(values)}" for name, values in where.items())
        raise UserError(f"{what} has {asked or 'anything'}")
    return np.array(chosen)
