"""What all regularizers of a step compute of their statistics, in one batch of small kernels.

On an accelerator every kernel costs its launch, however few numbers it is for, and a network of
twelve layers has 173 Balancers and 134 Whiteners. Each leaves its statistics here in the forward
pass; the first that is asked in the backward pass has the results of all computed together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Row = Float[Tensor, " values"]
"""Numbers of one entry."""
Columns = Float[Tensor, " all_values"]
"""Numbers of all entries, one after the other."""


@dataclass
class Entry:
    """One regularizer's statistics, and what became of them."""

    inputs: tuple[Row, ...]
    outputs: tuple[Row, ...] | None = None


class Batch:
    """Statistics that wait for a function of them."""

    def __init__(self, function: Callable[..., tuple[Columns, ...]]) -> None:
        """Remember the function, which is of each number by itself."""
        self.function = function
        self.waiting: list[Entry] = []

    def add(self, *inputs: Row) -> Entry:
        """Leave the arguments of one regularizer, all of one length."""
        entry = Entry(inputs)
        self.waiting.append(entry)
        return entry

    def outputs(self, entry: Entry) -> tuple[Row, ...]:
        """Return the results of an entry; those of all that wait are computed with it."""
        if entry.outputs is None:
            self._compute()
        assert entry.outputs is not None
        return entry.outputs

    def _compute(self) -> None:
        entries, self.waiting = self.waiting, []
        columns = [torch.cat(rows) for rows in zip(*(e.inputs for e in entries), strict=True)]
        sizes = [len(entry.inputs[0]) for entry in entries]
        results = [column.split(sizes) for column in self.function(*columns)]
        for entry, outputs in zip(entries, zip(*results, strict=True), strict=True):
            entry.outputs = outputs


def pays(x: Tensor) -> bool:
    """Whether launches are what costs: eagerly on an accelerator. A compiled graph fuses itself."""
    return x.device.type != "cpu" and not torch.compiler.is_compiling()
