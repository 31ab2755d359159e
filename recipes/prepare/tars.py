"""Stage: tars of samples (webdataset), as those of X-ARES, become shards."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiossl.data.tars import fold_patterns, tar_items
from recipes.prepare.shards import PrepareConfig, prepare_items
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(PrepareConfig):
    """Turn tars of audio and JSON into shards of 16 kHz mono cuts, labeled by their JSON."""

    folder: Path
    """Folder of the tars."""
    splits: dict[str, str] = field(default_factory=dict)
    """Name of each split and pattern of its tars, as in {train: "train*.tar"}; if empty, those of
    the folds of X-ARES, wds-audio-fold-<k>-*.tar, become splits fold-<k>."""


def prepare(config: Config, stage: Stage) -> dict[str, Any]:
    """List the samples and write them as shards."""
    splits = config.splits or fold_patterns(config.folder)
    return prepare_items(tar_items(config.folder, splits), config, stage)


if __name__ == "__main__":
    main(Config, prepare, "recipes.prepare.tars")
