import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from audiossl.atomic_files import read_json
from audiossl.errors import UserError
from audiossl.models.zipformer.model import Zipformer
from audiossl.pretrained.own import write_encoder
from audiossl.probing.bootstrap import BootstrapConfig
from recipes.probe import query_by_example
from recipes.probe.query_by_example import UnsearchedConfig
from recipes.stage import Resources, run
from tests.data.corpora import RATE, prepare, tone
from tests.methods.codes import SMALL

NOTES = {"a": 300.0, "b": 500.0, "c": 900.0, "d": 1500.0, "e": 2700.0}
TEXTS = ("abc", "cde", "bad", "dec", "eab", "acd")


def _melody(text):
    return np.concatenate([tone(0.15, NOTES[note]) for note in text])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queries")
    (folder / "audio").mkdir()
    rows, generator = ["path,name,split,documents"], np.random.default_rng(0)
    sounds = {f"doc{n}": (text, "document", "") for n, text in enumerate(TEXTS)}
    for split, words in (("valid", ("ab", "de", "cd")), ("test", ("ab", "ec", "ad", "xx"))):
        for word in words:
            held = "|".join(f"doc{n}" for n, text in enumerate(TEXTS) if word in text)
            sounds[f"{split}-{word}"] = (word.replace("x", "e"), split, held)
    for name, (text, split, held) in sounds.items():
        sound = _melody(text)
        sound = sound + 0.01 * generator.normal(size=len(sound))
        soundfile.write(folder / "audio" / f"{name}.wav", sound, RATE)
        rows.append(f"{name}.wav,{name},{split},{held}")
    (folder / "labels.csv").write_text("\n".join(rows))
    prepare(folder / "audio", folder / "cuts", labels=[folder / "labels.csv"])
    torch.manual_seed(0)
    write_encoder(folder / "zipformer", Zipformer(SMALL), {})
    return folder


def _config(folder, output, **changes):
    settings = {
        "cuts": folder / "cuts", "output": output, "name": "name", "baselines": False,
        "encoders": {"mel": "log_mel:40", "net": str(folder / "zipformer")},
        "bootstrap": BootstrapConfig(replicates=30), "resources": Resources(device="cpu"),
    }  # fmt: skip
    return query_by_example.Config(**{**settings, **changes})


def _run(config):
    return run(config, query_by_example.find_queries, "recipes.probe.query_by_example")


@pytest.fixture(scope="module")
def found(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("found")
    unsearched = UnsearchedConfig(documents=10, valid=3, test=3)
    _run(_config(folder, output, unsearched=unsearched))
    return output


def test_melodies_are_found(found):
    (task,) = read_json(found / "scores.json")["tasks"]
    mel, net = task["rows"]
    assert mel["scores"]["mtwv"] > 0.6
    # Three of the six queries of the benchmark were searched for.
    assert mel["scores"]["mtwv_of_all"] == pytest.approx(mel["scores"]["mtwv"] / 2, abs=0.1)
    assert "6 documents; 3 queries to choose on, 4 to score, 3 of them in some" in task["facts"]
    assert len(net["layer_scores"]) > 1
    assert net["validation"] == pytest.approx(max(net["layer_scores"]), abs=1e-4)
    assert net["layer_scores"][net["choice"]["layer"]] == max(net["layer_scores"])
    assert "MTWV" in (found / "results.md").read_text()
    assert "Scores of layers" in (found / "report.html").read_text()


def test_an_interrupted_search_goes_on_at_the_missing_layer(folder, found, tmp_path):
    output = tmp_path / "again"
    shutil.copytree(found, output)
    record = json.loads((output / "stage.json").read_text())
    (output / "stage.json").write_text(json.dumps({**record, "finished": None, "results": None}))
    for path in ("scores.json", "runs/net/row.json", "runs/net/valid_layer-01.json"):
        (output / path).unlink()
    unsearched = UnsearchedConfig(documents=10, valid=3, test=3)
    _run(_config(folder, output, unsearched=unsearched))
    assert (output / "scores.json").read_text() == (found / "scores.json").read_text()


def test_what_cannot_be_is_refused(folder, tmp_path):
    config = _config(folder, tmp_path, encoders={"mel": "log_mel:40"})
    for changes, words in (
        ({"name": "title"}, "has no label 'title'"),
        ({"name": "id", "label": "split"}, "no query of valid is in any of 6 documents"),
        ({"layers": (4,)}, "layers: mel has 0 to 0, and no 4"),
        ({"most_cached": 1e-9}, "raise it, or"),
        ({"encoders": {}}, "name at least one"),
        ({"test": {"split": ["tests"]}}, "no cut has split"),
    ):
        with pytest.raises(UserError, match=words):
            _run(replace(config, output=tmp_path / words[:8].replace(" ", "_"), **changes))
