"""Layers and weights of Transformers from elsewhere; layers are counted as in SPEAR, from 1."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from audiossl.atomic_files import read_json
from audiossl.errors import UserError
from audiossl.nn.weights import read_weights


class LayerTap:
    """Collects the output of each block as it leaves the block: before any final norm.

    Libraries disagree, with themselves too, about what the last of their "hidden states" is:
    transformers 4 gives the output of the final norm, transformers 5 that of the last block. What
    the blocks themselves return is the same everywhere.
    """

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        self.outputs: list[Float[Tensor, "batch frames dim"]] = []
        for block in blocks:
            block.register_forward_hook(self._collect)

    def clear(self) -> None:
        """Forget what a call that failed may have left."""
        self.outputs = []

    def take(self) -> tuple[Float[Tensor, "batch frames dim"], ...]:
        """Hand out what was collected since the last time, first block first."""
        outputs, self.outputs = tuple(self.outputs), []
        return outputs

    def _collect(self, block: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG002
        self.outputs.append(output if isinstance(output, Tensor) else output[0])


def first_layers(blocks: nn.ModuleList, layer: int | None, name: str) -> nn.ModuleList:
    """Keep the blocks up to `layer`, counted from 1; later ones would be computed for nothing.

    Args:
        blocks: All blocks.
        layer: The one whose output is wanted; None keeps all.
        name: Whose blocks, for the message.

    Raises:
        UserError: There is no such layer.
    """
    if layer is None:
        return blocks
    if not 1 <= layer <= len(blocks):
        raise UserError(
            f"{name} has layers 1 to {len(blocks)}, counted from the first; got {layer}"
        )
    return nn.ModuleList(list(blocks)[:layer])


def described(layer: int | None, num_layers: int) -> str:
    """Describe the output, for an encoder's `convention`."""
    if layer is None:
        return f"output behind the final norm of {num_layers} layers"
    return f"layer {layer}, as it leaves the block"


def own_state(state: dict[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """Take the tensors below the first of `prefixes` that occurs, without it; else all of them.

    What was saved with a head for some task has the network below a name, and the head beside it.
    Norms of weights are given the names that torch 2 has for them.
    """
    for prefix in prefixes:
        if any(name.startswith(prefix) for name in state):
            state = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
            break
    return {
        name.replace(".weight_g", ".parametrizations.weight.original0").replace(
            ".weight_v", ".parametrizations.weight.original1"
        ): value
        for name, value in state.items()
    }


def read_folder(folder: Path) -> dict[str, Tensor]:
    """Read the weights of a folder as transformers writes it, in one file or several.

    Raises:
        UserError: There are none, they are damaged, or would run code.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = sorted(set(read_json(index)["weight_map"].values()))
        return {n: v for part in parts for n, v in read_weights(folder / part).items()}
    names = ("model.safetensors", "pytorch_model.bin")
    for name in names:
        if (folder / name).is_file():
            return read_weights(folder / name)
    raise UserError(f"{folder}: no weights: neither {' nor '.join(names)} lies there")
