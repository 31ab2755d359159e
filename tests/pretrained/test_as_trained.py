"""What an encoder was given in pretraining is what it is given at every door."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

import audiossl
from audiossl.data.corpus import Corpus
from audiossl.data.plan import PlanConfig, Position
from audiossl.data.views import Views, ViewsConfig
from audiossl.errors import UserError
from audiossl.models.batching import encode_leveled
from audiossl.models.encoder import presentation_of
from audiossl.models.zipformer.config import TINY
from audiossl.models.zipformer.model import Zipformer
from audiossl.pretrained.embed import embed_files
from audiossl.pretrained.own import CONFIG, WEIGHTS, write_encoder
from audiossl.probing.embeddings import EmbeddingConfig, Embeddings, embed_cuts, encoder_digest
from tests.data.corpora import prepare
from tests.teachers import tiny

RATE = 16_000


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Noises of 16-bit samples: shorter than a crop, longer, and one that is encoded in pieces."""
    folder = tmp_path_factory.mktemp("clips") / "audio"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name, seconds in {"a": 0.3, "b": 2.3, "c": 1.0, "d": 47.0}.items():
        loudness = np.linspace(0.02, 0.2, int(seconds * RATE))
        soundfile.write(
            folder / f"{name}.wav", loudness * generator.normal(size=len(loudness)), RATE
        )
    prepare(folder, folder.parent / "cuts", encoding="flac")
    return folder


@pytest.fixture(scope="module")
def zipformer(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("zipformer")
    write_encoder(folder, Zipformer(TINY).eval(), {})
    return folder


def probed(corpus, encoder):
    """Vectors of cuts as probes average them."""
    tensors = {name: value.numpy() for name, value in embed_cuts(
        corpus, range(len(corpus)), encoder, EmbeddingConfig()).items()}  # fmt: skip
    starts = np.concatenate([[0], np.cumsum(tensors.pop("rows"))])
    return Embeddings(tensors, starts).of_cuts("clip")


SOURCES = [
    "log_mel:40", "mfcc:", "log_mel_statistics:", "python:tests.models.encoders:Windows", "ge2e:",
    "aisfx:", "pocketsphinx:", "own", "own#2", "random", "shuffled", "zipformer", "hf", "hf#2",
    "spear", "ensemble",
]  # fmt: skip


@pytest.mark.parametrize("kind", SOURCES)
def test_embed_gives_what_the_probe_saw_bit_for_bit(kind, clips, experiment, zipformer, tmp_path):
    named = {
        "own": f"{experiment.cola_0}",
        "own#2": f"{experiment.cola_0}#2",
        "random": f"random:{experiment.cola_0}#3",
        "shuffled": f"shuffled:{experiment.cola_0}#3",
        "zipformer": f"{zipformer}",
        "ensemble": "log_mel:40+mfcc:",
    }
    if kind == "spear":
        weights = audiossl.load_encoder(zipformer).state_dict()
        torch.save({"model": weights}, tmp_path / "public.pt")
        named[kind] = f"spear:{tmp_path / 'public.pt'}"
    if kind.startswith("hf"):
        folder = tiny.save(tiny.networks()["hubert-base"], tmp_path)
        named[kind] = f"hf:{folder}{kind[2:]}"
    encoder = audiossl.load_encoder(named.get(kind, kind))
    vectors = audiossl.embed(sorted(clips.glob("*.wav")), encoder, device="cpu")
    assert torch.equal(vectors, torch.from_numpy(probed(Corpus(clips.parent / "cuts"), encoder)))
    assert vectors.abs().sum(dim=1).min() > 0


@pytest.mark.parametrize("level", ["l2", "rms", "none"])
def test_a_crop_of_pretraining_and_the_same_stretch_embedded_are_one_vector(
    level, clips, experiment, tmp_path
):
    corpus = Corpus(clips.parent / "cuts")
    config = ViewsConfig(crop_samples=RATE, level=level)
    plan = PlanConfig(seed=0, batch_size=3, num_buckets=1)
    views = Views(corpus, config, plan, np.arange(3))
    encoder = audiossl.load_encoder(experiment.cola_0)
    encoder.presentation = views.presentation
    batch = views.load(Position(0, 0))
    draw = views.draw(Position(0, 0))
    crops = dict(zip(views.cuts[draw.segments].tolist(), batch.anchors, strict=True))
    names = ["a.wav", "c.wav"]  # no longer than a crop: their only crop is that of all epochs
    crops = torch.stack([crops[cut] for cut in (0, 2)])
    with torch.inference_mode():
        expected = encode_leveled(encoder, crops, torch.full((2,), RATE)).clip
    torch.testing.assert_close(
        audiossl.embed([clips / name for name in names], encoder), expected, atol=1e-6, rtol=1e-6
    )


def test_a_longer_clip_is_the_mean_of_the_crops_that_pretraining_could_have_made(clips, experiment):
    views = Views(
        Corpus(clips.parent / "cuts"), ViewsConfig(crop_samples=RATE, level="rms"),
        PlanConfig(seed=0, batch_size=3, num_buckets=1), np.arange(3),
    )  # fmt: skip
    encoder = audiossl.load_encoder(experiment.cola_0)
    encoder.presentation = views.presentation
    starts = [0, RATE, int(2.3 * RATE) - RATE]
    crops = torch.from_numpy(np.stack([views._crop(1, "mixture", start) for start in starts]))
    with torch.inference_mode():
        expected = encode_leveled(encoder, crops, torch.full((3,), RATE)).clip.mean(dim=0)
    (vector,) = audiossl.embed(clips / "b.wav", encoder)
    torch.testing.assert_close(vector, expected, atol=1e-6, rtol=1e-6)


def test_pretraining_writes_its_presentation_and_every_copy_has_it(experiment):
    written = json.loads((experiment.cola_0 / CONFIG).read_text())["presentation"]
    assert written["window_samples"] == 8000
    assert (written["level"], written["padding"]) == ("l2", "center")
    for source in ("", "random:", "shuffled:"):
        encoder = audiossl.load_encoder(f"{source}{experiment.cola_0}")
        assert presentation_of(encoder).window_samples == 8000
    layer = audiossl.load_encoder(f"{experiment.cola_0}#1")
    assert presentation_of(layer).window_samples == 8000


def test_folders_without_one_have_the_documented_default(experiment, zipformer, tmp_path):
    for folder, window in ((experiment.cola_0, RATE), (zipformer, None)):
        content = json.loads((folder / CONFIG).read_text())
        del content["presentation"]
        old = tmp_path / str(window)
        old.mkdir()
        (old / CONFIG).write_text(json.dumps(content))
        (old / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes())
        assert presentation_of(audiossl.load_encoder(old)).window_samples == window


def test_an_encoder_that_is_presented_otherwise_is_another_one(experiment):
    one = audiossl.load_encoder(experiment.cola_0)
    other = audiossl.load_encoder(experiment.cola_0)
    assert encoder_digest(one) == encoder_digest(other)
    other.presentation = None
    assert encoder_digest(one) != encoder_digest(other)


def test_an_encoder_is_taken_from_a_run_that_has_not_finished(experiment, tmp_path):
    running = tmp_path / "run"
    shutil.copytree(experiment.cola_0, running)
    (running / CONFIG).unlink()
    (running / WEIGHTS).unlink()
    with pytest.raises(UserError, match=f"has not finished.*run:{running}"):
        audiossl.load_encoder(running)
    encoder, finished = (
        audiossl.load_encoder(f"run:{running}"),
        audiossl.load_encoder(experiment.cola_0),
    )
    assert encoder_digest(encoder) == encoder_digest(finished)  # its last checkpoint is the end
    shutil.rmtree(running / "checkpoints")
    with pytest.raises(UserError, match="no checkpoint yet"):
        audiossl.load_encoder(f"run:{running}")
    with pytest.raises(UserError, match="give the output of a pretrain stage"):
        audiossl.load_encoder(f"run:{tmp_path}")


def test_frames_in_time_have_the_level_of_the_whole_clip(clips, experiment):
    encoder = audiossl.load_encoder(experiment.cola_0)
    waveform = torch.from_numpy(soundfile.read(clips / "b.wav", dtype="float32")[0])[None]
    expected = encoder(waveform, torch.tensor([waveform.shape[1]]))
    found = embed_files(clips / "b.wav", encoder, frames=True)
    torch.testing.assert_close(found.values[0], expected.vectors[0], atol=1e-6, rtol=1e-5)
