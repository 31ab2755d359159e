"""Stage: a folder of audio, with labels in a CSV or TSV if there are any, becomes shards."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiossl.data.folder import folder_items
from recipes.prepare.shards import PrepareConfig, prepare_items
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(PrepareConfig):
    """Turn a folder of audio into shards of 16 kHz mono cuts."""

    folder: Path
    """Folder of the audio, at any depth; a folder with a file named mixture.* is one recording."""
    labels: tuple[Path, ...] = ()
    """Tables (.csv, .tsv) with a column `path`, relative to `folder`, and any others."""
    only_labeled: bool = False
    """Whether audio that no table names is left out."""


def prepare(config: Config, stage: Stage) -> dict[str, Any]:
    """List the folder and write it as shards."""
    items = folder_items(config.folder, config.labels, only_labeled=config.only_labeled)
    return prepare_items(items, config, stage)


if __name__ == "__main__":
    main(Config, prepare, "recipes.prepare.folder")
