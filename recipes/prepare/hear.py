"""Stage: a task folder of HEAR 2021 becomes shards, and a task that probes take."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiossl import distributed
from audiossl.atomic_files import write_json
from audiossl.data.hear_tasks import hear_items, read_hear_task, task_settings
from recipes.prepare.shards import PrepareConfig, prepare_items
from recipes.stage import Stage, main


@dataclass(frozen=True, kw_only=True)
class Config(PrepareConfig):
    """Turn a task folder of HEAR into shards of 16 kHz mono cuts, and `tasks.yaml`."""

    folder: Path
    """Folder of the task, with task_metadata.json in it."""


def prepare(config: Config, stage: Stage) -> dict[str, Any]:
    """List the task, write its settings for `recipes.probe.fit --config`, and its audio."""
    task = read_hear_task(config.folder)
    settings = task_settings(task)
    totals = prepare_items(hear_items(task), config, stage)
    if distributed.is_first():
        # JSON is YAML.
        write_json(config.output / "tasks.yaml", {"tasks": [settings]})
    return totals


if __name__ == "__main__":
    main(Config, prepare, "recipes.prepare.hear")
