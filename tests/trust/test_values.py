"""Values of any kind where settings enter: a config or a line, never a traceback."""

from contextlib import suppress
from importlib import import_module

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiossl.configs import parse_yaml, setting_names
from audiossl.errors import UserError
from recipes.settings import read_settings
from tests.trust.forks import WORK

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["1e400", "-0", "[", "{", "~", "0x7f", "1_000", "2020-01-01", "*a", "kind"])
)  # fmt: skip
NESTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
QUICK = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("program", WORK)
@QUICK
@given(data=st.data())
def test_any_value_of_any_setting_is_taken_or_refused_in_a_line(program, data):
    config = import_module(program).Config
    names = sorted(set(setting_names(config)))
    words = []
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3)):
        words += [f"--{name}", repr(data.draw(NESTS))]
    with suppress(UserError):
        read_settings(config, program, [*words, "--output", "x"])


@QUICK
@given(st.text(max_size=60) | st.text("[]{}:,&*a-? \n!|>'\"%#", max_size=60))
def test_any_text_is_yaml_or_is_refused(text):
    with suppress(ValueError):
        parse_yaml(text)
