"""Stage: a Kaldi data directory becomes shards."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiossl.data.kaldi import kaldi_items
from recipes.prepare.shards import PrepareConfig, prepare_items
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(PrepareConfig):
    """Turn a Kaldi data directory into shards of 16 kHz mono cuts."""

    folder: Path
    """Kaldi data directory: wav.scp, and segments, text, utt2spk, spk2gender, utt2lang, rttm where
    present."""
    allow_commands: bool = False
    """Whether shell commands in wav.scp ("sox ... |") may run. Look at them first."""


def prepare(config: Config, stage: Stage) -> dict[str, Any]:
    """List the utterances and write them as shards."""
    items = kaldi_items(config.folder, allow_commands=config.allow_commands)
    return prepare_items(items, config, stage)


if __name__ == "__main__":
    main(Config, prepare, "recipes.prepare.kaldi")
