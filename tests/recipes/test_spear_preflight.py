from dataclasses import fields, replace

import pytest

from audiossl.atomic_files import read_json
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from recipes.spear.preflight import Config, Forecast, check, preflight, reckon
from recipes.spear.pretrain import build, coded_cuts
from recipes.stage import run
from tests.recipes.spear_corpora import spear_config, write_corpora

MODULE = "recipes.spear.preflight"


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Config:
    folder = tmp_path_factory.mktemp("preflight")
    write_corpora(folder)
    known = spear_config(folder, folder / "out")
    return Config(**{field.name: getattr(known, field.name) for field in fields(known)})


FORECAST = Forecast(
    seconds_per_step=2.0, hours=10.0, audio_hours_per_hour=5.0, peak_gib=7.0, memory_gib=8.0,
    largest_batch_duration=400.0, disk_gib=1.0, free_disk_gib=5.0, load_seconds=0.1,
)  # fmt: skip


def test_it_measures_steps_and_forecasts_the_run(config):
    record = run(config, preflight, MODULE)
    found = record["results"]
    assert found == read_json(config.output / "forecast.json")
    assert found["seconds_per_step"] > 0
    assert found["hours"] == pytest.approx(found["seconds_per_step"] * 6 / 3600)
    assert 0 < found["peak_gib"] < found["memory_gib"]
    assert found["disk_gib"] > 0
    assert found["largest_batch_duration"] > 0
    assert not (config.output / "trial").exists()


def test_plans_that_cannot_work_are_refused_with_what_would(config):
    check(FORECAST, config)
    with pytest.raises(UserError, match=r"batch_duration to at most 400, or loop.accumulate to 2"):
        check(replace(FORECAST, peak_gib=7.5), config)
    with pytest.raises(UserError, match=r"checkpoints need 9\.0 GiB"):
        check(replace(FORECAST, disk_gib=9.0), config)
    with pytest.raises(UserError, match=r"loop.steps to at most 3"):
        check(FORECAST, replace(config, most_hours=5.0))


def test_batches_that_the_ranks_cannot_share_are_refused(config, tmp_path):
    odd = replace(config, output=tmp_path, plan=PlanConfig(batch_size=6, num_buckets=1), ranks=4)
    with pytest.raises(UserError, match=r"cannot be shared by 4 ranks x 1 parts x blocks of 2"):
        run(odd, preflight, MODULE)


def _sharded(config: Config, **changes: object) -> Config:
    return replace(config, resources=replace(config.resources, sharding="full"), **changes)


def test_what_trials_do_not_have_is_reckoned(config):
    source = coded_cuts(config)
    method = build(config, source)
    encoder = sum(p.numel() for p in method.encoder.parameters())
    every = sum(p.numel() for p in method.parameters())
    means = reckon(config, source, 8)
    assert means.memory == means.checkpoint == 16 * encoder
    unit = max(sum(p.numel() for p in u.parameters()) for u in method.encoder.units)
    sharded = reckon(_sharded(config), source, 8)
    assert sharded.memory == pytest.approx(2 * encoder - 14 * every + 12 * unit)
    assert sharded.checkpoint == 16 * encoder
    plain = replace(config, loop=replace(config.loop, averaging=None))
    assert reckon(plain, source, 8).memory == 0


def _forecast(config):
    return run(config, preflight, MODULE)["results"]


@pytest.mark.long
def test_ranks_that_share_parameters_are_measured_together(config, tmp_path, two_processes):
    """Four equal steps on both ranks, whose checkpoint has the parts of both."""
    alone = _forecast(replace(config, output=tmp_path / "one", plan=_plan(2)))
    together = _sharded(config, output=tmp_path / "two", plan=_plan(4))
    first, second = two_processes.run(_forecast, together)
    assert first["seconds_per_step"] > 0
    assert second["seconds_per_step"] > 0
    assert first["disk_gib"] == pytest.approx(alone["disk_gib"], rel=0.5)


def _plan(size: int) -> PlanConfig:
    return PlanConfig(batch_size=size, num_buckets=1)
