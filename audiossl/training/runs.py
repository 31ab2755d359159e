"""A pretraining run, opened again: its pairs, and its method as the last checkpoint has it.

For looking at a run, finished or not; nothing here changes one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from audiossl.configs import from_plain, read_yaml
from audiossl.data.corpus import Corpus
from audiossl.data.plan import PlanConfig
from audiossl.data.views import Views, ViewsConfig
from audiossl.errors import UserError
from audiossl.methods.build import build_method, read_method_config
from audiossl.methods.model_contrast import without_kept
from audiossl.models.build import EncoderConfig, build_encoder
from audiossl.nn.weights import load_exactly
from audiossl.training.checkpoints import read_last_checkpoint


@dataclass(frozen=True)
class Run:
    """A run of a method of pairs of crops."""

    views: Views
    """Pairs of the run, batch by batch."""
    method: nn.Module
    """Method in evaluation mode."""
    step: int
    """Updates behind it; 0 if there is no checkpoint yet."""


def open_run(folder: Path) -> Run:
    """Open the output directory of a stage that pretrains on views.

    Raises:
        UserError: It is none, or its inputs are not where they were.
    """
    content = _settings(folder)
    source = str(folder / "config.yaml")
    folders = [Path(content[name]) for name in ("cuts", "stems") if name in content]
    for path in folders:
        if not path.exists():
            raise UserError(
                f"{source}: its input {path} is not there: paths are relative to the folder where "
                "the stage was run; call from there"
            )
    corpus = Corpus(*folders)
    seed, size = content["loop"]["seed"], content["batch_size"]
    plan = PlanConfig(seed=seed, batch_size=size, num_buckets=1)
    views_config: ViewsConfig = from_plain(ViewsConfig, content["views"], source)
    views = Views(corpus, views_config, plan, corpus.select(content["where"]))
    encoder = build_encoder(from_plain(EncoderConfig, content["encoder"], source))
    method = build_method(read_method_config(content["method"], source), encoder, views.facts)
    state = read_last_checkpoint(folder)
    if state is not None:
        load_exactly(method, without_kept(state["method"]), f"{folder}: its last checkpoint")
    return Run(views, method.eval().requires_grad_(False), state["step"] if state else 0)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    if not path.exists():
        raise UserError(f"{folder}: no config.yaml: give the output of a pretrain stage")
    content: dict[str, Any] = read_yaml(path)
    if not isinstance(content, dict) or {"views", "method", "encoder"} - content.keys():
        raise UserError(f"{path}: not of a stage that pretrains on pairs (no views, or no method)")
    return content


def has_pairs(folder: Path) -> bool:
    """Whether a folder is a run that `open_run` opens."""
    try:
        _settings(folder)
    except UserError:
        return False
    return True
