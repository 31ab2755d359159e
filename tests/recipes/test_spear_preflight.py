from dataclasses import fields, replace

import pytest

from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from audiossl.whole import read_json
from recipes.spear.preflight import Config, Forecast, check, preflight
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
