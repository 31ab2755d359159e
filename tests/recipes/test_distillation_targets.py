"""Stored targets are what teachers give beside the student; excerpts are chosen fairly."""

import csv

import numpy as np
import pytest
import soundfile
import torch

from audiossl.batches import DataFacts
from audiossl.data.corpus import Corpus
from audiossl.data.crops import Crops, CropsConfig
from audiossl.data.plan import Position
from audiossl.data.teacher_targets import Excerpt, TeacherTargets
from audiossl.errors import UserError
from audiossl.methods.distillation import (
    Distillation,
    DistillationConfig,
    TeacherConfig,
    vectors_at,
)
from audiossl.methods.distortions import DistortionsConfig
from audiossl.models.layered import Layered, LayeredConfig
from audiossl.pretrained.load import load_encoder
from recipes.distillation import targets
from recipes.stage import run
from tests.data.corpora import RATE, prepare, write_folder
from tests.methods.codes import SMALL

DOMAINS = ("speech", "music")
SECONDS = [1.0, 1.0, 2.6, 1.0, 0.3, 1.0]


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("targets")
    write_folder(folder / "audio", SECONDS)
    # Noise that grows evenly: its log-mel frames tell the time.
    time = np.arange(int(SECONDS[2] * RATE)) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time)) * np.exp(2 * time - 7)
    soundfile.write(folder / "audio" / "002.wav", noise, RATE)
    packages = ["a", "a", "a", "b", "b", "c"]
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = [(f"{n:03d}.wav", "speech" if n < 5 else "music", package)
                for n, package in enumerate(packages)]  # fmt: skip
        csv.writer(file).writerows([("path", "domain", "package"), *rows])
    labels = [folder / "labels.csv"]
    prepare(folder / "audio", folder / "cuts", shard_size=2, labels=labels)
    return folder / "cuts"


def _config(cuts, **settings) -> targets.Config:
    return targets.Config(
        **{
            "cuts": cuts,
            "output": cuts.parent / "stored",
            "teacher": "log_mel:8",
            "hours": {"speech": 1.0, "music": 1.0},
            "excerpt_duration": 1.0,
            "frame_rate": 50.0,
            **settings,
        }
    )


def _stored(cuts, **settings) -> TeacherTargets:
    config = _config(cuts, **settings)
    run(config, targets.store_targets, "recipes.distillation.targets")
    return TeacherTargets(config.output, Corpus(cuts).cuts_id)


def _method(**facts) -> Distillation:
    torch.manual_seed(0)
    config = DistillationConfig(
        teachers={"teacher": TeacherConfig(source="log_mel:8")},
        distortions=DistortionsConfig(probability=0.0),
    )
    encoder = Layered(LayeredConfig(network=SMALL, layers=(0, 2)))
    return Distillation(encoder, config, DataFacts(domains=DOMAINS, **facts))


def test_stored_targets_give_the_loss_of_a_teacher_beside_the_student(cuts):
    stored = _stored(cuts)
    corpus = Corpus(cuts)
    crops = CropsConfig(shares={"speech": 0.5, "music": 0.5}, lengths=(1.0,), batch_duration=8.0)
    source = Crops(corpus, crops, np.arange(len(corpus)), 0, {"teacher": stored})
    batch = source.load(Position(0, 0))
    online = _method(teachers={"teacher": load_encoder("log_mel:8")})
    cached = _method(stored={"teacher": stored.facts})
    losses = [m(batch, 0, torch.Generator().manual_seed(0)).total for m in (online, cached)]
    torch.testing.assert_close(losses[0], losses[1], rtol=2e-3, atol=0)


def test_a_crop_within_an_excerpt_has_the_frames_of_its_own_time(cuts):
    stored = _stored(cuts, output=cuts.parent / "long", excerpt_duration=2.6)
    corpus = Corpus(cuts)
    crops = CropsConfig(shares={"speech": 1.0}, lengths=(0.8,), batch_duration=8.0)
    source = Crops(corpus, crops, np.array([2]), 0, {"teacher": stored})
    batch = source.load(Position(0, 0))
    method = _method(stored={"teacher": stored.facts})
    found = method._stored("teacher", batch)
    alone = load_encoder("log_mel:8")(batch.waveforms, batch.lengths)
    times = alone.times[5:-5][None] + found.offsets[:, None]
    ours = vectors_at(found.frames, times)
    # Frames lie on another grid and are of noise; a tenth of a second would be 0.4.
    difference = (ours - alone.vectors[:, 5:-5]).mean(dim=(1, 2)).abs()
    assert float(difference.max()) < 0.15
    assert len(set(found.offsets.tolist())) > 4


def test_averaged_frames_lie_between_those_they_are_of(cuts):
    fine, coarse = _stored(cuts), _stored(cuts, output=cuts.parent / "slow", frame_rate=12.5)
    excerpt = Excerpt(0, 0, 16000)
    expected = fine.frames(excerpt)[:8].astype(np.float32).reshape(2, 4, 8).mean(axis=1)
    np.testing.assert_allclose(coarse.frames(excerpt)[:2], expected, atol=0.02)
    assert coarse.facts.frame_rate == 12.5
    assert coarse.facts.first_time == pytest.approx(fine.facts.first_time + 0.03)


def test_long_cuts_are_divided_and_packages_take_turns(cuts):
    corpus = Corpus(cuts)
    everything = targets.choose_excerpts(corpus, _config(cuts))
    third = [excerpt for excerpt in everything if excerpt.cut == 2]
    assert [(e.start, e.num_samples) for e in third] == [(0, 16000), (16000, 16000), (32000, 9600)]
    two = targets.choose_excerpts(corpus, _config(cuts, hours={"speech": 2.0 / 3600}))
    packages = {0: "a", 1: "a", 2: "a", 3: "b", 4: "b"}
    assert sorted(packages[excerpt.cut] for excerpt in two) == ["a", "b"]
    assert set(two) < set(everything)
    long = targets.choose_excerpts(corpus, _config(cuts, min_duration=0.5))
    assert 4 not in {excerpt.cut for excerpt in long}


def test_what_does_not_fit_is_refused(cuts):
    stored = _stored(cuts)
    with pytest.raises(UserError, match="of other cuts"):
        TeacherTargets(cuts.parent / "stored", "another")
    with pytest.raises(UserError, match="no finished targets"):
        TeacherTargets(cuts, "any")
    config = DistillationConfig(teachers={"teacher": TeacherConfig(source="")}, speeds=(1.0, 0.9))
    encoder = Layered(LayeredConfig(network=SMALL, layers=(0, 2)))
    facts = DataFacts(domains=DOMAINS, stored={"teacher": stored.facts})
    with pytest.raises(UserError, match="set speeds"):
        Distillation(encoder, config, facts)
