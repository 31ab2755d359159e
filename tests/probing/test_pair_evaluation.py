import math

import pytest

from audiossl.errors import UserError
from audiossl.probing.pair_evaluation import mean_of, seeds_of
from audiossl.probing.shared_codes import Agreement


def test_a_mean_over_seeds_is_of_those_that_have_a_value():
    seeds = [
        {"a": Agreement(1.0, 0.0), "names": ["p"], "pair": (1.0, math.nan), "none": None},
        {"a": Agreement(2.0, 1.0), "names": ["q"], "pair": (3.0, 5.0), "none": None},
    ]
    expected = {"a": Agreement(1.5, 0.5), "names": ["p"], "pair": (2.0, 5.0), "none": None}
    assert mean_of(seeds) == expected
    assert math.isnan(mean_of([{"x": math.nan}, {"x": math.nan}])["x"])
    assert mean_of(seeds[:1]) is seeds[0]


def test_two_runs_of_one_name_are_refused():
    with pytest.raises(UserError, match="their folders need different names"):
        seeds_of(["codes", "codes"])
