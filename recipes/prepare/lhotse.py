"""Stage: manifests of lhotse, or a folder of Shar, become shards."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiossl.data.lhotse_cuts import lhotse_items, shar_shards
from audiossl.errors import UserError
from recipes.prepare.shards import PrepareConfig, prepare_items, prepare_shar
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(PrepareConfig):
    """Turn cuts, recordings or Shar of lhotse into shards of 16 kHz mono cuts."""

    manifest: Path
    """A file of cuts or recordings (.jsonl, .jsonl.gz), or a folder of Shar."""
    supervisions: Path | None = None
    """Supervisions of the recordings; each becomes a cut."""
    root: str = "."
    """Folder in which relative paths of recordings begin, in manifests of others."""
    allow_commands: bool = False
    """Whether shell commands that stand for recordings may run. Look at them first."""


def prepare(config: Config, stage: Stage) -> dict[str, Any]:
    """List the cuts and write them as shards."""
    if config.manifest.is_dir():
        shards = shar_shards(config.manifest)
        if not shards:
            raise UserError(f"{config.manifest}: no Shar in it (no cuts.*.jsonl.gz)")
        return prepare_shar(shards, config, stage, allow_commands=config.allow_commands)
    root = None if config.root == "." else Path(config.root)
    items = lhotse_items(
        config.manifest, config.supervisions, root, allow_commands=config.allow_commands
    )
    return prepare_items(items, config, stage)


if __name__ == "__main__":
    main(Config, prepare, "recipes.prepare.lhotse")
