import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchaudio
from torchaudio.models import wav2vec2_model

from audiossl.atomic_files import read_json
from audiossl.data.labeled_cuts import LabeledConfig
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from audiossl.methods.class_centers import CentersConfig
from audiossl.methods.overlapping_crops import ConsistencyConfig
from audiossl.methods.supervised import FrozenConfig, LoraConfig, SupervisedConfig, WholeConfig
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.sequence_heads import HeadConfig
from audiossl.nn.weights import read_weights
from audiossl.optim.build import AdamWConfig
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import write_encoder
from audiossl.training.loop import LoopConfig
from audiossl.training.writers import read_metrics
from recipes import finetune
from recipes.pretraining import TrainingResources
from recipes.settings import read_settings
from recipes.stage import Stage, run
from tests.data.corpora import prepare, write_folder
from tests.methods.codes import SMALL
from tests.teachers.test_torchaudio_bundle import BUNDLES
from tests.teachers.tiny import networks, save

LOOP = LoopConfig(steps=15, optimizer=AdamWConfig(rate=1e-2))
SHORT = replace(LOOP, steps=3)
CONFS = Path(finetune.__file__).parent / "spear/conf"
ADAPTATIONS = {
    "whole": WholeConfig(),
    "lora": LoraConfig(rank=4),
    "frozen": FrozenConfig(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tones, low and high, with a word, tags, and when they sound."""
    folder = tmp_path_factory.mktemp("finetune")
    write_folder(folder / "audio", [0.6] * 12)
    rows = ["path,text,tags,kind,turns,some,split"]
    for index in range(12):
        word, tags = ("low", "low") if index < 6 else ("High!", "high|tone")
        kind, turns = ("low", "0.0-0.3 a|0.3-0.6 b") if index < 6 else ("high", "0.1-0.5 c")
        split = "test" if index % 3 == 0 else "train"
        some = turns if split == "test" or index in (1, 10) else ""
        rows.append(f"{index:03d}.wav,{word},{tags},{kind},{turns},{some},{split}")
    (folder / "labels.csv").write_text("\n".join(rows))
    prepare(folder / "audio", folder / "cuts", labels=[folder / "labels.csv"])
    torch.manual_seed(0)
    write_encoder(folder / "zipformer", Zipformer(SMALL), {})
    save(networks()["wav2vec2-base"], folder / "wav2vec2", normalize=False)
    save(networks()["wavlm-large"], folder / "wavlm")
    torch.manual_seed(1)
    bundle = wav2vec2_model(**BUNDLES["TINY_BASE"]._params)
    torch.save(bundle.state_dict(), folder / "tiny_base.pth")
    return folder


@pytest.fixture(autouse=True)
def _small_bundles(monkeypatch):
    monkeypatch.setattr(torchaudio.pipelines, "TINY_BASE", BUNDLES["TINY_BASE"], raising=False)


def _sources(folder):
    return {
        "zipformer": str(folder / "zipformer"),
        "wav2vec2": f"hf:{folder / 'wav2vec2'}",
        "wavlm": f"hf:{folder / 'wavlm'}",
        "torchaudio": f"torchaudio:{folder / 'tiny_base.pth'}",
    }


def _config(folder, output, label="kind", target="classes", **changes):
    settings = {
        "cuts": folder / "cuts", "output": output, "encoder": str(folder / "zipformer"),
        "target": target, "train": LabeledConfig(label=label, where={"split": ["train"]}),
        "method": SupervisedConfig(input="output", head=HeadConfig(projection=0)),
        "plan": PlanConfig(batch_size=4, num_buckets=1), "loop": LOOP,
        "resources": TrainingResources(device="cpu", log_every=5, save_every=5, keep=9),
    }  # fmt: skip
    return finetune.Config(**{**settings, **changes})


def _run(config):
    return run(config, finetune.finetune, "recipes.finetune")


def _resumed(config, output):
    """The same run, which something stopped after 10 of its 15 steps."""
    shutil.copytree(config.output, output)
    (output / "checkpoints/step-00000015.pt").unlink()
    for path in [*output.glob("*.safetensors"), output / "config.json"]:
        path.unlink(missing_ok=True)
    record = json.loads((output / "stage.json").read_text())
    (output / "stage.json").write_text(json.dumps({**record, "finished": None, "results": None}))
    return _run(replace(config, output=output))


@pytest.mark.parametrize(
    ("name", "adaptation"),
    [
        ("zipformer", "whole"), ("zipformer", "lora"), ("zipformer", "frozen"),
        ("wav2vec2", "whole"), ("wav2vec2", "lora"), ("wavlm", "lora"), ("torchaudio", "lora"),
    ],
)  # fmt: skip
def test_any_encoder_learns_resumes_and_is_loaded_again(folder, tmp_path, name, adaptation):
    source = _sources(folder)[name]
    config = _config(
        folder, tmp_path / "run", encoder=source, adaptation=ADAPTATIONS[adaptation],
        method=SupervisedConfig(input="layers", head=HeadConfig(projection=8)),
    )  # fmt: skip
    record = _run(config)
    losses = [row["loss"] for row in read_metrics(config.output)]
    assert losses[-1] < 0.9 * losses[0]
    again = _resumed(config, tmp_path / "again")
    assert again["results"] == record["results"]
    for path in config.output.glob("*.safetensors"):
        torch.testing.assert_close(
            read_weights(tmp_path / "again" / path.name), read_weights(path), rtol=0, atol=0
        )
    if adaptation == "frozen":
        assert not (config.output / "config.json").exists()
        return
    waveforms, lengths = 0.1 * torch.randn(2, 8000), torch.tensor([8000, 6000])
    before, after = load_encoder(source), load_encoder(config.output)
    frames, tuned = before(waveforms, lengths), after(waveforms, lengths)
    assert tuned.vectors.shape == frames.vectors.shape
    assert not torch.allclose(tuned.vectors, frames.vectors)
    assert not any("parametrizations.weight.0" in name for name in after.state_dict())


SOME = LabeledConfig(label="some", where={"split": ["train"]}, unlabeled=True)
FEW = {
    "center_loss": ("classes", {"centers": CentersConfig(projection_dim=8, queue=6)}, {}),
    "divergence": ("events", {"consistency": ConsistencyConfig(confidence=0.5)}, {"train": SOME}),
}


@pytest.mark.parametrize("figure", list(FEW))
def test_options_for_few_labels_learn_and_resume(folder, tmp_path, figure):
    target, few, changes = FEW[figure]
    method = SupervisedConfig(input="output", head=HeadConfig(projection=0), **few)
    config = _config(folder, tmp_path / "run", target=target, method=method, **changes)
    record = _run(config)
    rows = read_metrics(config.output)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1][figure] > 0
    again = _resumed(config, tmp_path / "again")
    assert again["results"] == record["results"]
    for path in config.output.glob("*.safetensors"):
        torch.testing.assert_close(
            read_weights(tmp_path / "again" / path.name), read_weights(path), rtol=0, atol=0
        )
    head = read_weights(config.output / finetune.HEAD)
    assert set(head) == {"head.output.weight", "head.output.bias"}


def test_text_is_transcribed(folder, tmp_path):
    record = _run(_config(folder, tmp_path, "text", "characters", loop=SHORT))
    scores = read_json(tmp_path / "scores.json")
    assert record["results"]["scores"] | {"cuts": 4} == scores
    assert set(scores) == {"wer", "cer", "cuts"}
    lines = (tmp_path / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["reference"] for line in lines] == [["low"]] * 2 + [["High!"]] * 2
    assert read_json(tmp_path / "classes.json") == [list("ghilow")]


def test_tags_are_scored_by_mean_average_precision(folder, tmp_path):
    method = SupervisedConfig(
        input="clip", head=HeadConfig(projection=0), dropout=0.1, mixup_probability=0.5
    )
    _run(_config(folder, tmp_path, "tags", "tags", method=method, loop=SHORT))
    assert read_json(tmp_path / "classes.json") == [["high", "low", "tone"]]
    assert 0 <= read_json(tmp_path / "scores.json")["map"] <= 1


@pytest.mark.parametrize(
    ("target", "figure"), [("frames", "frame_accuracy"), ("events", "psds1"), ("speakers", "der")]
)
def test_segments_are_found_in_frames(folder, tmp_path, target, figure):
    head = HeadConfig(projection=0, recurrent_layers=1, width=8, bidirectional=target == "events")
    method = SupervisedConfig(input="layers", head=head)
    record = _run(_config(folder, tmp_path, "turns", target, method=method, loop=SHORT))
    assert record["results"]["scores"][figure] >= 0
    line = json.loads((tmp_path / "predictions.jsonl").read_text().splitlines()[0])
    assert line["reference"] == ["0.0-0.3 a|0.3-0.6 b"]


def test_what_cannot_be_is_refused(folder, tmp_path):
    config = _config(folder, tmp_path)
    for changes, words in (
        ({"encoder": "log_mel:40"}, "log_mel:40: cannot be fine-tuned"),
        ({"train": LabeledConfig(label="kinds")}, r"label 'kinds'.* did you mean 'kind'"),
        ({"adaptation": LoraConfig(layers=("in_pro",))}, "no linear layer is named 'in_pro'"),
        ({"method": SupervisedConfig(input="clip"), "target": "frames",
          "train": LabeledConfig(label="turns")}, "one vector a clip cannot say"),
        ({"train": LabeledConfig(label="kind", where={"kind": ["low"]})}, "nothing to tell apart"),
        ({"train": LabeledConfig(label="turns", where={"kind": ["low"]}), "target": "frames",
          "test": {"kind": ["high"]}}, "'c' is no class of training cuts"),
        ({"train": LabeledConfig(label="kind"), "target": "events"}, "'low' is no segment"),
        ({"test": {"split": ["dev"]}}, "no cut has split in .'dev'."),
        ({"method": SupervisedConfig(centers=CentersConfig()), "target": "tags",
          "train": LabeledConfig(label="tags")}, "method.centers: a cut has one class"),
        ({"method": SupervisedConfig(consistency=ConsistencyConfig())}, "target is classes"),
        ({"train": LabeledConfig(label="some", unlabeled=True), "target": "events"},
         "teach by consistency alone"),
        ({"train": LabeledConfig(label="kind", unlabeled=True),
          "method": SupervisedConfig(consistency=ConsistencyConfig())}, "train.unlabeled: cuts"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            finetune.finetune(replace(config, **changes), _stage(tmp_path))


def _stage(output):
    return Stage(output, torch.device("cpu"), logging.getLogger("test"), 0.0)


@pytest.mark.parametrize("name", ["finetune_ctc", "finetune_tagging"])
def test_configs_load(name):
    words = ["--config", str(CONFS / f"{name}.yaml"), "--cuts", "a", "--output", "b"]
    config = read_settings(finetune.Config, "test", [*words, "--encoder", "c"])
    assert config.loop.rate_scales == {"encoder": 0.05}
    assert config.loop.optimizer.rate == 0.045
    assert config.method.head.projection == 0
