import json
from dataclasses import replace
from pathlib import Path

import pytest

from audiossl.atomic_files import read_json
from audiossl.data.labeled_cuts import LabeledConfig, LabeledCuts, Symbols
from audiossl.data.plan import PlanConfig
from audiossl.data.text_units import normalized
from audiossl.errors import UserError
from audiossl.features.spec_augment import SpecAugmentConfig
from audiossl.methods.tagging import TaggingConfig
from audiossl.methods.transcription import TranscriptionConfig
from audiossl.models.zipformer.model import Zipformer
from audiossl.optim.build import AdamWConfig
from audiossl.pretrained.own import write_encoder
from audiossl.training.loop import LoopConfig
from recipes.pretraining import TrainingResources
from recipes.settings import read_settings
from recipes.spear import finetune_ctc, finetune_tagging
from recipes.spear.finetuning import open_encoder
from recipes.stage import run
from tests.data.corpora import prepare, write_folder
from tests.methods.codes import SMALL

PLAIN = SpecAugmentConfig(probability=0.0)
LOOP = LoopConfig(steps=8, optimizer=AdamWConfig(rate=3e-3), rate_scales={"encoder": 0.5})
CONFS = Path(finetune_ctc.__file__).parent / "conf"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tones, low and high, with a word and with tags for each."""
    folder = tmp_path_factory.mktemp("finetune")
    write_folder(folder / "audio", [0.6] * 12)
    rows = ["path,text,tags,split"]
    for index in range(12):
        word, tags = ("low", "low") if index < 6 else ("High!", "high|tone")
        rows.append(f"{index:03d}.wav,{word},{tags},{'test' if index % 3 == 0 else 'train'}")
    (folder / "labels.csv").write_text("\n".join(rows))
    prepare(folder / "audio", folder / "cuts", labels=[folder / "labels.csv"])
    write_encoder(folder / "encoder", Zipformer(SMALL), {})
    return folder


def _settings(folder, output, label, **changes):
    return {
        "cuts": folder / "cuts", "output": output, "encoder": str(folder / "encoder"),
        "train": LabeledConfig(label=label, where={"split": ["train"]}),
        "plan": PlanConfig(batch_size=4, num_buckets=1), "loop": LOOP,
        "resources": TrainingResources(device="cpu"), **changes,
    }  # fmt: skip


def test_it_transcribes_and_writes_transcripts(folder, tmp_path):
    method = TranscriptionConfig(dropout=0.0, augmentation=PLAIN)
    config = finetune_ctc.Config(**_settings(folder, tmp_path, "text", method=method))
    record = run(config, finetune_ctc.finetune, "recipes.spear.finetune_ctc")
    scores = read_json(tmp_path / "scores.json")
    assert record["results"]["scores"] == scores
    assert (scores["cuts"], scores["words"], scores["characters"]) == (4, 4, 14)
    assert scores["cer"] >= 0
    lines = (tmp_path / "transcripts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["reference"] for row in rows] == ["low", "low", "high", "high"]
    assert read_json(tmp_path / "symbols.json") == list("ghilow")
    assert (tmp_path / "head.safetensors").exists()
    assert (tmp_path / "encoder.safetensors").exists()


def test_it_tags_and_scores(folder, tmp_path):
    method = TaggingConfig(dropout=0.0, augmentation=PLAIN)
    config = finetune_tagging.Config(**_settings(folder, tmp_path, "tags", method=method))
    run(config, finetune_tagging.finetune, "recipes.spear.finetune_tagging")
    scores = read_json(tmp_path / "scores.json")
    assert read_json(tmp_path / "tags.json") == ["high", "low", "tone"]
    assert 0 <= scores["map"] <= 1
    assert (scores["cuts"], scores["tags"]) == (4, 3)


def test_what_cannot_be_fine_tuned_is_refused(folder, tmp_path):
    config = finetune_ctc.Config(**_settings(folder, tmp_path, "text"))
    with pytest.raises(UserError, match="cannot be fine-tuned"):
        open_encoder(replace(config, encoder="log_mel:40"))
    with pytest.raises(UserError, match=r"no cut of .* has label 'words'"):
        LabeledCuts(folder / "cuts", LabeledConfig(label="words"))


def test_texts_are_brought_to_one_form():
    symbols = Symbols.of(["Don't stop - NOW!", "  now "])
    assert normalized("Don't stop - NOW!") == "don't stop now"
    assert symbols.decode(symbols.encode("Won't")) == "won't"
    assert symbols.encode("zz") == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [("finetune_ctc", finetune_ctc.Config), ("finetune_tagging", finetune_tagging.Config)],
)
def test_configs_load(name, kind):
    words = ["--config", str(CONFS / f"{name}.yaml"), "--cuts", "a", "--output", "b"]
    config = read_settings(kind, "test", [*words, "--encoder", "c"])
    assert config.loop.rate_scales == {"encoder": 0.05}
    assert config.loop.optimizer.rate == 0.045
