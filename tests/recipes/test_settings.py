from dataclasses import dataclass

import pytest

from audiossl.errors import UserError
from audiossl.models.build import EncoderConfig
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.optim.build import AdamWConfig, ScaledAdamConfig
from audiossl.optim.eden import EdenConfig
from audiossl.optim.schedules import CosineConfig
from audiossl.training.loop import LoopConfig
from recipes.settings import read_settings

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


@pytest.mark.parametrize("words", [["--loop.optimizer.rat", "1"], ["--loop.stepz", "1"]])
def test_an_unknown_setting_is_named(read, words):
    with pytest.raises(UserError, match="did you mean"):
        read(BASE, words=words)


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
