import math

import pytest

from audiossl.models.encoder import Context
from audiossl.models.zipformer.training.schedules import (
    FINISHED,
    LEAST_BYPASS,
    Progress,
    Schedule,
    layer_skips,
)


def test_values_are_linear_between_points_and_constant_beyond():
    schedule = Schedule((10, 1.0), (20, 0.0), (40, 2.0))
    found = [schedule.at(Progress(0, now)) for now in (0.0, 10.0, 15.0, 20.0, 30.0, 1e9, math.inf)]
    assert found == [1.0, 1.0, 0.5, 0.0, 1.0, 2.0, 2.0]


def test_progress_counts_audio_in_batches_of_ten_minutes():
    progress = Progress.of(Context(1000, 1000 * 1200.0))
    assert progress == Progress(1000, 2000.0)
    assert LEAST_BYPASS.at(Progress(0, 10000.0)) == pytest.approx(0.55)
    assert LEAST_BYPASS.at(FINISHED) == pytest.approx(0.2)


def test_layers_of_the_base_network_come_to_be_used_from_bottom_to_top():
    skips = layer_skips((1, 2, 4, 8, 4, 2, 1), (1, 2, 3, 3, 1, 1, 1))
    starts = [skip.points[0][0] for skip in skips]
    ends = [(round(skip.points[1][0]), round(skip.points[1][1], 4)) for skip in skips]
    assert starts[:3] == [500, 1000, 1250]
    assert ends == [
        (1000, 0.035), (1250, 0.0495), (1500, 0.0495), (1667, 0.07), (1833, 0.07), (2000, 0.07),
        (2167, 0.099), (2333, 0.099), (2500, 0.099), (3000, 0.07), (3500, 0.0495), (4000, 0.035),
    ]  # fmt: skip
