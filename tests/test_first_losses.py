import json

from tests.first_losses import GOLDEN, alike, losses


def test_the_first_losses_of_every_method_are_what_they_were(tmp_path):
    golden = json.loads(GOLDEN.read_text())
    found = losses(tmp_path)
    assert found.keys() == golden.keys()
    for name, expected in golden.items():
        assert alike(name, found[name], expected), (name, found[name])
