"""What a run was asked for, of which inputs: its identity, compared before anything is done."""

import dataclasses
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

import audiossl
from audiossl import distributed
from audiossl.atomic_files import read_object, write_json, write_text
from audiossl.configs import as_yaml, default_of, flat, plain
from audiossl.digests import digest_of_bytes, digest_of_json
from audiossl.earlier_names import renamed
from audiossl.errors import UserError
from audiossl.hardware import hardware

HASHED_BYTES = 64 << 20
"""Files up to this size are fingerprinted by content, larger ones by name and size."""
_BEGINNING = ("stage.json", "config.yaml", "log.txt", ".lock")
"""What lies in the output of every run before it has computed anything."""


def begin_record(config: Any, module: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Describe the run that is asked for, and compare it with what lies in its directory.

    Returns:
        The record of this run, and that of an earlier one in the same directory.

    Raises:
        UserError: An input is missing or unfinished, or the directory holds another run.
    """
    inputs, identity = split_inputs(config)
    record = {
        "stage": module,
        "identity": identity,
        "inputs": {
            name: {"path": str(path), "fingerprint": fingerprint(path, config.output)}
            for name, path in inputs.items()
        },
        "started": now(),
        "finished": None,
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "world_size": distributed.world_size(),
        "versions": _versions(),
        "hardware": hardware(),
    }
    path = config.output / "stage.json"
    previous = _read_record(path) if path.exists() else None
    if previous and not previous["finished"] and not _has_results(config.output):
        previous = None
    if previous:
        _check_same(previous, record, config)
        if _steps(record) > _steps(previous):
            # It goes on from its last checkpoint.
            previous = {**previous, "finished": None}
    if not (previous and previous["finished"]):
        write_json(path, record)
        write_text(config.output / "config.yaml", as_yaml(config))
    return record, previous


def _read_record(path: Path) -> dict[str, Any]:
    none = type(None)
    record = read_object(path, stage=str, finished=(str, none), identity=dict, inputs=dict)
    if not all(isinstance(e, dict) and "fingerprint" in e for e in record["inputs"].values()):
        raise UserError(f"{path}: inputs without fingerprints: damaged? remove {path.parent}")
    return record


def _has_results(output: Path) -> bool:
    """Whether a run has left anything but what every run begins with."""
    files = (path for path in output.rglob("*") if path.is_file())
    return any(str(path.relative_to(output)) not in _BEGINNING for path in files)


def fingerprint(path: Path, output: Path | None = None) -> str:
    """Identify an input: a finished stage by its record, a file or folder by what is in it.

    Args:
        path: The input.
        output: Where the run writes; if that is inside the input, it is no part of it.

    Raises:
        UserError: It is missing, or a stage that has not finished.
    """
    if not path.exists():
        raise UserError(
            f"input {path} does not exist: run the stage that makes it, or mend the path"
        )
    if (path / "stage.json").exists():
        record = _read_record(path / "stage.json")
        if not record["finished"]:
            raise UserError(
                f"input {path} is unfinished: run its stage ({record['stage']}) to the end first"
            )
        identifying = {key: record.get(key) for key in ("stage", "identity", "inputs", "results")}
        return digest(identifying)
    if output is not None and output.resolve() == path.resolve():
        raise UserError(f"output {output} is an input as well: choose another --output")
    files = [path] if path.is_file() else sorted(_files(path, output))
    rows = [
        (str(file.relative_to(path)), size := file.stat().st_size, _content(file, size, len(files)))
        for file in files
    ]
    return digest(rows)


def _files(folder: Path, output: Path | None) -> Iterator[Path]:
    """List the files of a folder, but for what this run and others make of it and write there."""
    own = output.resolve() if output is not None else None
    for place, folders, files in os.walk(folder, followlinks=False):
        here = Path(place)
        folders[:] = [
            name
            for name in folders
            if (here / name).resolve() != own and not _is_made_of(here / name, folder)
        ]
        yield from (path for name in files if (path := here / name).is_file())


def _is_made_of(output: Path, folder: Path) -> bool:
    """Whether a folder is the output of a stage one of whose inputs lies in `folder`.

    What a stage has made of something else counts as any file does.
    """
    record = output / "stage.json"
    if not record.exists():
        return (output / ".lock").exists()  # a stage that has not begun
    try:
        paths = [Path(entry["path"]) for entry in _read_record(record)["inputs"].values()]
    except (UserError, KeyError):
        return False  # a file of that name which is none of ours
    return any(path.resolve().is_relative_to(folder.resolve()) for path in paths)


def digest(content: Any) -> str:
    """Hash plain content to 16 hex digits."""
    return digest_of_json(content)


def split_inputs(config: Any) -> tuple[dict[str, Path], dict[str, Any]]:
    """Tell inputs from settings: paths wherever they are, and what `extra_inputs()` names."""
    inputs: dict[str, Path] = {}
    identity = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in ("output", "resources", "max_skipped"):
            continue
        inputs.update(_paths(value, field.name))
        if not _only_paths(value):
            identity[field.name] = plain(_without_paths(value))
    if hasattr(config, "extra_inputs"):
        inputs.update(config.extra_inputs())
    return inputs, identity


def _paths(value: Any, name: str) -> Iterator[tuple[str, Path]]:
    """Find the paths in a setting, as corpora.0.cuts."""
    if isinstance(value, Path):
        yield name, value
    for key, item in _members(value).items():
        yield from _paths(item, f"{name}.{key}")


def _without_paths(value: Any) -> Any:
    """Leave the paths out of a setting."""
    members = {k: _without_paths(v) for k, v in _members(value).items() if not isinstance(v, Path)}
    if isinstance(value, (tuple, list)):
        return list(members.values())
    return members if _members(value) else value


def _only_paths(value: Any) -> bool:
    parts = _members(value).values()
    return isinstance(value, Path) or (bool(parts) and all(map(_only_paths, parts)))


def _members(value: Any) -> dict[Any, Any]:
    """Name the parts of a config, a list or a dict; nothing else has any."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return dict(enumerate(value))
    return value if isinstance(value, dict) else {}


def defaults(config: Any, name: str = "") -> set[str]:
    """Name the settings that have the value of their default, by path."""
    names: set[str] = set()
    for field in dataclasses.fields(config):
        path, value = f"{name}{field.name}", getattr(config, field.name)
        if value == default_of(field):
            names |= {path, *(f"{path}.{inner}" for inner in flat(plain(value)))}
        elif dataclasses.is_dataclass(value):
            names |= defaults(value, f"{path}.")
    return names


def _steps(record: dict[str, Any]) -> int:
    """Count the steps of a run that trains; 0 for other stages."""
    loop = record["identity"].get("loop")
    return int(loop.get("steps", 0)) if isinstance(loop, dict) else 0


def _check_same(previous: dict[str, Any], record: dict[str, Any], config: Any) -> None:
    """Refuse a directory that holds another run, naming what differs.

    A setting that the version of the earlier run lacked had the effect of its default. More steps
    extend a run, where nothing of it depends on their number.
    """
    output: Path = config.output
    unasked, ends = defaults(config), ""
    if previous["stage"] != record["stage"]:
        raise UserError(
            f"{output} belongs to {previous['stage']}: choose another --output "
            f"for {record['stage']}"
        )
    new = flat(record["identity"])
    old, inputs = _as_now(previous, record)
    changes = [
        f"{name} {old.get(name, 'absent')} -> {new.get(name, 'absent')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and (name in old or name not in unasked)
    ]
    if _steps(record) > _steps(previous) > 0:
        ends = config.loop.ends
        changes = [change for change in changes if ends or not change.startswith("loop.steps ")]
    for name in sorted(inputs.keys() | record["inputs"].keys()):
        was, now = inputs.get(name), record["inputs"].get(name)
        marks = [entry and entry["fingerprint"] for entry in (was, now)]
        if marks[0] != marks[1]:
            changes.append(f"input {name} (fingerprint {marks[0]} -> {marks[1]})")
    if changes:
        raise UserError(
            f"{output} holds a run with other settings: {'; '.join(changes)}; "
            f"{f'it cannot be extended, because {ends}; ' if ends else ''}"
            "choose another --output, or remove this one"
        )


def _as_now(
    previous: dict[str, Any], record: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return settings and inputs of an earlier version as this one would record them.

    `loss: dcl` was `loss: {kind: dcl}`, and a path that may be left out a list of one or none.
    """
    new = flat(record["identity"])
    old = {
        f"{name}.kind" if f"{name}.kind" in new else name: value
        for name, value in flat(renamed(previous["identity"])).items()
    }
    old |= {name: None for name, value in old.items() if value == [] and new.get(name, 0) is None}
    inputs = {
        name if name in record["inputs"] else name.removesuffix(".0"): entry
        for name, entry in previous["inputs"].items()
    }
    return old, inputs


def _versions() -> dict[str, str]:
    return {
        "audiossl": audiossl.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _commit() -> str:
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


def _content(file: Path, size: int, num_files: int) -> str:
    # A corpus is known by the names and sizes of its files; single files are read.
    if num_files > 1 or size > HASHED_BYTES:
        return ""
    return digest_of_bytes([file.read_bytes()])


def now() -> str:
    """Tell the time, in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
