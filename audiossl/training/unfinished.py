"""The encoder of a run that is still going on, or broke off: as its last checkpoint has it."""

from pathlib import Path
from typing import Any

from audiossl.atomic_files import read_json
from audiossl.errors import UserError
from audiossl.models.description import FILE, build_described
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.weights import load_exactly
from audiossl.training.checkpoints import read_last_checkpoint

_PREFIX = "encoder."


def load(place: str) -> FeatureEncoder:
    """Load the encoder of the last checkpoint of a run, without any averaging of weights.

    Args:
        place: Output folder of a pretraining stage.

    Raises:
        UserError: It is none, or has no checkpoint yet.
    """
    folder = Path(place)
    if not (folder / FILE).exists():
        raise UserError(f"run:{place}: no {FILE} in it: give the output of a pretrain stage")
    state: dict[str, Any] | None = read_last_checkpoint(folder)
    if state is None:
        raise UserError(f"run:{place}: no checkpoint yet: wait for the first, or lower save_every")
    encoder = build_described(read_json(folder / FILE), str(folder / FILE))
    weights = {
        name.removeprefix(_PREFIX): value
        for name, value in state["method"].items()
        if name.startswith(_PREFIX)
    }
    load_exactly(encoder, weights, f"{place}: its last checkpoint")
    return encoder
