from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

from audiossl.configs import configs_of
from audiossl.errors import UserError
from audiossl.methods.distillation import DistillationConfig, TeacherConfig
from audiossl.models.build import EncoderConfig
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.optim.build import AdamWConfig, ScaledAdamConfig
from audiossl.optim.eden import EdenConfig
from audiossl.optim.schedules import CosineConfig
from audiossl.training.loop import LoopConfig
from recipes.settings import help_text, read_settings

ROOT = Path(__file__).parents[2]
BASE = """
encoder: {kind: zipformer, dim: 64, num_layers: [1, 2], strides: [1, 2], kernel_sizes: [31, 15],
          unmasked_dim: 32}
loop:
  steps: 10
  optimizer: {kind: scaled_adam, rate: 0.04, schedule: {kind: eden, hour_scale: 3.0}}
"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings."""

    loop: LoopConfig
    """How."""
    encoder: EncoderConfig
    """What."""


@pytest.fixture
def read(tmp_path):
    def read(*texts, words=()):
        files = []
        for index, text in enumerate(texts):
            path = tmp_path / f"{index}.yaml"
            path.write_text(text)
            files += ["--config", str(path)]
        return read_settings(Settings, "program", [*files, *words])

    return read


def test_kinds_choose_the_network_the_optimizer_and_the_schedule(read):
    found = read(BASE)
    assert isinstance(found.encoder, ZipformerConfig)
    assert found.encoder.num_layers == (1, 2)
    assert found.loop.optimizer == ScaledAdamConfig(rate=0.04, schedule=EdenConfig(hour_scale=3.0))


def test_a_later_file_may_choose_another_kind(read):
    later = "loop: {optimizer: {schedule: {kind: cosine, warmup_steps: 5}}}"
    found = read(BASE, later)
    assert found.loop.optimizer == ScaledAdamConfig(
        rate=0.04, schedule=CosineConfig(warmup_steps=5)
    )
    found = read(BASE, "loop: {optimizer: {kind: adamw, schedule: {kind: halved}}}")
    assert isinstance(found.loop.optimizer, AdamWConfig)
    assert found.loop.optimizer.rate == 1e-3


def test_one_setting_of_a_union_can_be_changed_on_the_command_line(read):
    words = ["--loop.optimizer.rate", "1e-2", "--loop.optimizer.schedule.hour_scale=5"]
    expected = ScaledAdamConfig(rate=0.01, schedule=EdenConfig(hour_scale=5.0))
    found = read(BASE, words=[*words, "--loop.steps", "3"])
    assert found.loop.optimizer == expected
    assert found.loop.steps == 3


def test_items_of_a_dict_are_added_one_by_one_and_a_whole_one_replaces_it(read):
    scales = "loop: {rate_scales: {encoder: 0.1, heads: 0.2}}"
    words = ["--loop.rate_scales.heads", "0.5", "--loop.rate_scales.norms", "0"]
    found = read(BASE, scales, words=words)
    assert found.loop.rate_scales == {"encoder": 0.1, "heads": 0.5, "norms": 0.0}
    assert read(BASE, words=words).loop.rate_scales == {"heads": 0.5, "norms": 0.0}
    whole = ["--loop.rate_scales", "{norms: 1}"]
    assert read(BASE, scales, words=whole).loop.rate_scales == {"norms": 1.0}
    both = read(BASE, scales, words=[*whole, "--loop.rate_scales.heads", "0.5"])
    assert both.loop.rate_scales == {"norms": 1.0, "heads": 0.5}


def test_a_word_for_one_config_of_a_dict_leaves_its_other_settings(tmp_path):
    path = tmp_path / "teachers.yaml"
    path.write_text("teachers: {a: {source: 'mfcc:', power: 0.5}, b: {source: 'mfcc:'}}")
    words = ["--config", str(path), "--teachers.a", "{weight: 2}"]
    found = read_settings(DistillationConfig, "program", words)
    assert found.teachers == {
        "a": TeacherConfig(source="mfcc:", power=0.5, weight=2.0),
        "b": TeacherConfig(source="mfcc:"),
    }


@pytest.mark.parametrize("words", [["--loop.optimizer.rat", "1"], ["--loop.stepz", "1"]])
def test_an_unknown_setting_is_named(read, words):
    with pytest.raises(UserError, match="did you mean"):
        read(BASE, words=words)


def test_help_of_a_config_that_has_no_source_names_its_settings():
    """As one made at a prompt."""
    scope = {"__name__": "nowhere", "dataclass": dataclass}
    exec("@dataclass(frozen=True)\nclass Made:\n    steps: int = 3\n", scope)
    assert "--steps   (default 3)" in help_text(scope["Made"], "made")


def test_dashes_are_underscores_and_a_flag_needs_no_value():
    @dataclass(frozen=True, kw_only=True)
    class Flags:
        """Flags."""

        allow_commands: bool = False
        """Whether."""
        shard_size: int = 1
        """How many."""

    found = read_settings(Flags, "program", ["--allow-commands", "--shard-size", "3"])
    assert found == Flags(allow_commands=True, shard_size=3)
    assert not read_settings(Flags, "program", ["--allow-commands", "false"]).allow_commands
    with pytest.raises(UserError, match="--shard-size has no value"):
        read_settings(Flags, "program", ["--shard-size"])


def _bare_numbers(kind):
    """Name the settings that are numbers of any size."""
    hints = get_type_hints(kind, include_extras=True)
    for one in fields(kind):
        if _is_bare(hints[one.name]):
            yield f"{kind.__name__}.{one.name}"
        for inner in configs_of(get_type_hints(kind)[one.name]).values():
            yield from _bare_numbers(inner)


def _is_bare(hint):
    if get_origin(hint) is Annotated:
        return False
    return hint in (int, float) or any(_is_bare(part) for part in get_args(hint))


STAGES = [
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for path in sorted((ROOT / "recipes").rglob("*.py"))
    if "class Config(" in path.read_text() or "class Config:" in path.read_text()
]
ANY_NUMBER = ("_dbfs", "_snr", ".silence", ".gain", ".margin", "TransformerConfig.mean")
"""Levels in decibels, logarithms, and margins; `ZipformerConfig` checks its own."""


@pytest.mark.parametrize("name", STAGES)
def test_every_number_of_every_stage_has_a_range(name):
    bare = set(_bare_numbers(import_module(name).Config))
    left = {n for n in bare if not n.endswith(ANY_NUMBER) and not n.startswith("ZipformerConfig")}
    assert not left, "give them Count, Whole, Share, Positive or Nonnegative of audiossl.configs"
