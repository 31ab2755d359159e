"""Every config of the recipe loads, and says what the specification says."""

from pathlib import Path

import pytest
import yaml

from audiossl.models.zipformer.model import Zipformer
from audiossl.optim.build import ScaledAdamConfig
from audiossl.optim.eden import EdenConfig
from recipes.settings import read_settings
from recipes.spear.pretrain import Config, with_seconds

CONFS = Path(__file__).parents[2] / "recipes" / "spear" / "conf"
CORPORA = "[{cuts: cuts, codes: [a, b], domain: speech}, {cuts: more, codes: [c], domain: audio}]"
SIZES = {"base": 93_289_361, "large": 326_951_344, "xlarge": 596_973_234}
"""Parameters of the encoder."""
PAPER = {
    "speech_base": (4800, 400_000, 0.04, 30_000, 0.5, 15),
    "speech_large": (6400, 500_000, 0.045, 75_000, 0.5, 15),
    "audio_base": (4800, 300_000, 0.045, 20_000, 0.65, 20),
    "dual_base": (3200, 500_000, 0.045, 25_000, 0.65, 20),
    "dual_large": (4800, 400_000, 0.045, 75_000, 0.65, 20),
    "dual_xlarge": (9600, 448_000, 0.045, 75_000, 0.65, 20),
}
"""Seconds a step, steps, rate, Eden's hours, probability of time masks, channels of a span."""


def _config(name: str, *words: str) -> Config:
    path = CONFS / f"{name}.yaml"
    return read_settings(
        Config, "test", ["--config", str(path), "--corpora", CORPORA, "--output", "out", *words]
    )


def test_there_is_a_config_for_every_model_of_the_paper():
    assert {path.stem for path in CONFS.glob("*.yaml")} >= {*PAPER, "tiny"}


@pytest.mark.parametrize("name", PAPER)
def test_configs_have_the_values_of_the_specification(name):
    config = _config(name)
    seconds, steps, rate, hours, time_probability, channel_span = PAPER[name]
    optimizer = config.loop.optimizer
    assert isinstance(optimizer, ScaledAdamConfig)
    assert isinstance(optimizer.schedule, EdenConfig)
    assert (config.plan.batch_duration, config.loop.steps, optimizer.rate) == (seconds, steps, rate)
    assert (optimizer.schedule.step_scale, optimizer.schedule.hour_scale) == (7500, hours)
    masking = config.method.masking
    assert (masking.time_probability, masking.time_span) == (time_probability, 10)
    assert (masking.channel_probability, masking.channel_span) == (0.25, channel_span)
    assert (config.method.alpha, config.method.audio_weight) == (0.5, 0.1)
    assert config.loop.precision == "bfloat16"
    assert config.loop.averaging is not None
    assert with_seconds(config.loop, 7.0).optimizer.schedule.seconds_per_step == 7.0
    # Batches can be shared by the GPUs that the first line of the config speaks of.
    gpus = {"speech_base": 8, "speech_large": 16, "audio_base": 8}.get(name)
    gpus = gpus or {"base": 8, "large": 16, "xlarge": 32}[name.removeprefix("dual_")]
    assert config.plan.multiple % (gpus * config.method.mixing.block) == 0
    assert config.plan.batch_duration / config.data.max_duration >= config.plan.multiple
    assert config.resources.sharding == ("full" if name == "dual_xlarge" else "none")


@pytest.mark.parametrize("name", PAPER)
def test_encoders_have_the_size_of_the_specification(name):
    import torch

    with torch.device("meta"):
        encoder = Zipformer(_config(name).encoder)
    count = sum(parameter.numel() for parameter in encoder.parameters())
    assert count == SIZES[name.rpartition("_")[2]]


def test_the_tiny_config_loads_and_can_be_changed_from_the_command_line():
    config = _config("tiny", "--loop.optimizer.rate", "0.01", "--method.pairing", "joint")
    assert config.loop.optimizer.rate == 0.01
    assert isinstance(config.loop.optimizer, ScaledAdamConfig)
    assert config.method.pairing == "joint"
    adam = _config("tiny", "--loop.optimizer", "{kind: adamw, rate: 0.001}")
    assert adam.loop.optimizer.kind == "adamw"


def test_no_config_names_a_corpus():
    for path in CONFS.glob("*.yaml"):
        assert "corpora" not in yaml.safe_load(path.read_text())
