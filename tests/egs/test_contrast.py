"""Comparisons of contrastive losses on mini are fair, and score what was not trained on."""

from importlib import import_module

from recipes.settings import read_settings
from tests.egs.layouts import ROOT
from tests.egs.test_mini import planned


def test_arms_of_contrast_see_as_many_pairs_and_none_that_is_scored(tmp_path, monkeypatch):
    commands = planned("objectives/contrast.sh", "--exp-dir", str(tmp_path), "--seeds", "0 1")
    monkeypatch.chdir(ROOT / "egs/mini/objectives")
    configs = [
        read_settings(import_module(rest[1]).Config, rest[1], rest[2:])
        for _, *rest in commands
        if rest[0] == "-m" and rest[1].startswith("recipes.")
    ]
    trained = [config for config in configs if hasattr(config, "loop")]
    assert len({config.output for config in trained}) == (4 + 3 + 2) * 2
    assert {config.batch_size * config.loop.steps for config in trained} == {2400}
    seen = {split for config in trained for split in config.where["split"]}
    scored = [config for config in configs if hasattr(config, "probes")]
    assert len(scored) == 3
    for config in scored:
        (task,) = config.tasks
        assert seen == set(task.train)
        assert not seen & {*task.test, *task.valid}
