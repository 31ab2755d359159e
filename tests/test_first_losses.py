import json

import pytest

from tests.first_losses import GOLDEN, losses


def test_the_first_losses_of_every_method_are_what_they_were(tmp_path):
    golden = json.loads(GOLDEN.read_text())
    found = losses(tmp_path)
    assert found.keys() == golden.keys()
    for name, expected in golden.items():
        # Other processors sum in another order; `python -m tests.first_losses --check` is exact.
        assert found[name] == pytest.approx(expected, rel=1e-4), name
