"""Every form of every kind of encoder: what comes out of its files is what goes into them."""

import gzip
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.testing import assert_close

from audiossl import embed, load_encoder
from audiossl.cli import main
from audiossl.models.build import build_encoder
from audiossl.models.efficientnet import EfficientNetConfig
from audiossl.models.encoder import presentation_of
from audiossl.pretrained.embed import embed_files
from audiossl.pretrained.exports.features import read_matrix
from audiossl.pretrained.exports.forms import FORMS
from audiossl.pretrained.exports.mteb import embed_batches
from audiossl.pretrained.own import write_encoder
from tests.pretrained.exports.exported import (
    KINDS,
    export,
    export_apart,
    make_encoders,
    module_of,
)
from tests.teachers.tiny import networks, save

SIZES = ([71234, 20000, 300], [40001])
"""Of batches whose graphs were traced with other sizes."""
SOUND = 0.1 * torch.randn(2, 50000, generator=torch.Generator().manual_seed(1))


PCEN = EfficientNetConfig(
    width=0.05, depth=0.1, normalization="pcen", pooling="attentive", input_scale=1.0
)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    return make_encoders(tmp_path_factory.mktemp("encoders"))


def frames_of(source, waveforms=SOUND):
    found = embed_files(list(waveforms), str(source), frames=True, device="cpu")
    return torch.stack(found.values)


@pytest.mark.parametrize("kind", KINDS)
def test_hear_module_keeps_the_rules_of_its_validator(encoders, tmp_path, capsys, kind):
    assert export(encoders / kind, tmp_path / "out", "hear", capsys) < 1e-5
    hear = module_of(tmp_path / "out" / "hear_module.py")
    model = hear.load_model()
    assert model.sample_rate in (16000, 22050, 32000, 44100, 48000)
    for seconds in (1.07, 1.98, 4.0):
        audio = 2 * torch.rand(2, int(seconds * model.sample_rate)) - 1
        frames, times = hear.get_timestamp_embeddings(audio, model)
        assert frames.dtype == times.dtype == torch.float32
        assert frames.shape == (2, times.shape[1], model.timestamp_embedding_size)
        gaps = times.diff(dim=1)
        assert (gaps - gaps.mean()).abs().max() <= 1
        assert times.max() <= 1000 * seconds
        assert times.max() >= 1000 * seconds - 2 * gaps.mean()
    scenes = hear.get_scene_embeddings(SOUND, model)
    assert scenes.shape == (2, model.scene_embedding_size)
    assert_close(scenes, embed(list(SOUND), str(encoders / kind), device="cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_xares_encoders_are_frames_of_embed(encoders, tmp_path, capsys, kind):
    assert export(encoders / kind, tmp_path / "out", "xares", capsys) < 1e-5
    module = module_of(tmp_path / "out" / "xares_encoder.py")
    (name,) = (word for word in dir(module) if word.endswith("Encoder"))
    encoder = getattr(module, name)()
    frames = encoder(SOUND)
    assert frames.shape[2] == encoder.output_dim
    assert abs(frames.shape[1] * encoder.hop_size_in_ms - 3125) < encoder.hop_size_in_ms + 80
    assert_close(frames, frames_of(encoders / kind))
    assert encoder(SOUND[0, :100]).shape[1] > 0
    module = module_of(tmp_path / "out" / "xares_llm_encoder.py")
    (name,) = (word for word in dir(module) if word.endswith("Encoder"))
    mask = torch.ones(2, 50000)
    mask[1, 30000:] = 0
    frames, valid = getattr(module, name)()(SOUND, mask)
    assert frames.shape[:2] == valid.shape
    assert 0 < valid[1].sum() < valid[0].sum()


def test_encoders_of_xares_are_called_by_their_weights(tmp_path, capsys):
    names = []
    for bands in ("8", "9"):
        export(f"log_mel:{bands}", tmp_path / bands, "xares", capsys)
        text = (tmp_path / bands / "xares_encoder.py").read_text("utf-8")
        names += [line for line in text.splitlines() if line.startswith("class ")]
    assert len(set(names)) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_s3prl_upstream_gives_layers_of_one_shape(encoders, tmp_path, capsys, kind):
    assert export(encoders / kind, tmp_path / "out", "s3prl", capsys) < 1e-5
    upstream = module_of(tmp_path / "out" / "hubconf.py").audiossl_local(ckpt=None, refresh=False)
    hidden = upstream([SOUND[0], SOUND[1, :30000]])["hidden_states"]
    assert len({layer.shape for layer in hidden}) == 1
    rate = upstream.get_downsample_rates("hidden_states")
    assert abs(hidden[0].shape[1] - round(50000 / rate)) < 5
    given = load_encoder(encoders / kind)(SOUND, torch.tensor([50000, 30000]))
    wanted = given.layers[-1] if len(hidden) > 1 else given.vectors
    count = int(given.lengths_of_layers[0])
    assert_close(hidden[-1][0, :count], wanted[0, :count])


@pytest.mark.parametrize("kind", KINDS)
def test_marble_gives_layers(encoders, tmp_path, capsys, monkeypatch, kind):
    assert export(encoders / kind, tmp_path / "out", "marble", capsys) < 1e-5
    core = types.ModuleType("marble.core.base_encoder")
    core.BaseEncoder = torch.nn.Module
    for name in ("marble", "marble.core"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "marble.core.base_encoder", core)
    encoder = module_of(tmp_path / "out" / "model.py").AudioSSL_Encoder().train()
    layers = encoder(SOUND[:, None])
    assert layers[0].shape[2] == encoder.NUM_FEATURES
    assert len({layer.shape for layer in layers}) == 1
    assert not encoder.layers.encoder.training
    assert not any(tensor.requires_grad for tensor in encoder.parameters())
    assert_close(layers, encoder(SOUND))


def test_mteb_embeds_what_embed_does(encoders, tmp_path, capsys):
    assert export(encoders / "layered", tmp_path / "out", "mteb", capsys) < 1e-5
    compile((tmp_path / "out" / "mteb_model.py").read_text("utf-8"), "mteb_model.py", "exec")
    clips = [{"array": row.numpy(), "sampling_rate": 16000} for row in SOUND]
    vectors = embed_batches([{"audio": clips}], load_encoder(tmp_path / "out" / "encoder"), "cpu")
    expected = embed(list(SOUND), str(encoders / "layered"), device="cpu")
    assert_close(torch.from_numpy(vectors), expected)


def test_features_are_found_by_their_names(encoders, tmp_path, capsys):
    for name, row in zip(("b c.wav", "a.wav"), SOUND, strict=True):
        soundfile.write(tmp_path / name, row.numpy(), 16000, subtype="FLOAT")
    clips = ("--clips", str(tmp_path / "*.wav"))
    out = tmp_path / "out"
    assert export(encoders / "zipformer", out, "features", capsys, *clips) == 0
    lines = [line.split(" ") for line in (out / "feats.scp").read_text().splitlines()]
    assert [name for name, _ in lines] == ["a", "b_c"]
    expected = frames_of(encoders / "zipformer")[1].numpy()
    path, _, offset = lines[0][1].rpartition(":")
    with Path(path).open("rb") as archive:
        np.testing.assert_array_equal(read_matrix(archive, int(offset)), expected)
    with gzip.open(out / "features.jsonl.gz") as manifest:
        described = [json.loads(line) for line in manifest]
    assert [one["storage_key"] for one in described] == ["a", "b_c"]
    assert described[0]["num_frames"], described[0]["num_features"] == expected.shape


ALONE = """
import sys
sys.modules["audiossl"] = None
import torch
from transformers import AutoFeatureExtractor, AutoModel
for folder in sys.argv[1:]:
    model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    sound = torch.load(f"{folder}.sound.pt")
    rows = [sound[0].numpy(), sound[1, :30000].numpy()]
    given = extractor(rows, sampling_rate=16000, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = model(**given, output_hidden_states=True)
    torch.save([out.last_hidden_state, out.frame_lengths, out.pooler_output,
                len(out.hidden_states)], f"{folder}.out.pt")
"""


def test_transformers_loads_a_folder_without_this_package(encoders, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    for kind in KINDS:
        assert export(encoders / kind, tmp_path / kind, "hf", capsys) < 1e-5
        torch.save(SOUND, tmp_path / f"{kind}.sound.pt")
    folders = [str(tmp_path / kind) for kind in KINDS]
    subprocess.run([sys.executable, "-W", "ignore", "-c", ALONE, *folders], check=True)
    for kind in KINDS:
        vectors, lengths, clip, num_layers = torch.load(tmp_path / f"{kind}.out.pt")
        frames = load_encoder(encoders / kind)(SOUND, torch.tensor([50000, 30000]))
        assert_close(lengths, frames.lengths)
        assert_close(clip, frames.clip)
        for row, count in enumerate(lengths.tolist()):
            assert_close(vectors[row, :count], frames.vectors[row, :count])
        assert num_layers == len(frames.layers)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of torch about its archives
@pytest.mark.parametrize("source", ["log_mel:8", "zipformer"])
def test_programs_of_torch_hold_for_any_batch_and_duration(encoders, tmp_path, source):
    place = encoders / source if source in KINDS else source
    (difference,) = export_apart([(place, tmp_path / "out", "torch")])
    assert difference < 1e-4
    module = torch.export.load(tmp_path / "out" / "model.pt2").module()
    for sizes in SIZES:
        waveforms, lengths = 0.1 * torch.randn(len(sizes), sizes[0]), torch.tensor(sizes)
        vectors, counts, clip = module(waveforms, lengths)
        frames = load_encoder(place)(waveforms, lengths)
        assert_close(counts, frames.lengths)
        assert_close(clip, frames.clip, rtol=1e-3, atol=1e-4)
        for row, count in enumerate(counts.tolist()):
            expected = frames.vectors[row, :count]
            assert_close(vectors[row, :count], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "source",
    [
        "log_mel:8",  # eight seconds of one core, most of them imports
        "pcen",  # energies normalized by their past, frames pooled by attention
        pytest.param("zipformer", marks=pytest.mark.long),
        pytest.param("wav2vec2-base", marks=pytest.mark.long),
    ],
)
def test_onnx_comes_back_as_the_encoder_at_durations_beyond_the_example(encoders, tmp_path, source):
    place = f"random:{encoders / source}#1" if source in KINDS else source
    if source == "wav2vec2-base":
        place = f"hf:{save(networks()[source], tmp_path / source)}"
    if source == "pcen":
        place = str(tmp_path / source)
        write_encoder(tmp_path / source, build_encoder(PCEN).eval(), {})
    (difference,) = export_apart([(place, tmp_path / "out", "onnx")])
    assert difference < 1e-3
    encoder, again = load_encoder(place), load_encoder(tmp_path / "out" / "model.onnx")
    assert (again.sample_rate, again.frame_rate) == (encoder.sample_rate, encoder.frame_rate)
    assert again.presentation == presentation_of(encoder)
    assert encoder.layer_convention in again.layer_convention
    for sizes in SIZES:
        waveforms, lengths = 0.1 * torch.randn(len(sizes), sizes[0]), torch.tensor(sizes)
        expected, found = encoder(waveforms, lengths), again(waveforms, lengths)
        assert_close(found.lengths, expected.lengths)
        assert_close(found.clip, expected.clip, rtol=1e-2, atol=1e-3)
        for row, count in enumerate(found.lengths.tolist()):
            wanted = expected.vectors[row, :count]
            assert_close(found.vectors[row, :count], wanted, rtol=1e-2, atol=2e-3)
    assert b"site-packages" not in (tmp_path / "out" / "model.onnx").read_bytes()
    if source not in ("log_mel:8", "pcen"):
        rough = load_encoder(tmp_path / "out" / "model.int8.onnx")
        assert rough.presentation == again.presentation
        assert_close(rough(SOUND).clip, encoder(SOUND).clip, rtol=0.1, atol=0.1)


def test_one_layer_and_baselines_go_out_too(encoders, tmp_path, capsys):
    layer = f"{encoders / 'zipformer'}#1"
    assert export(layer, tmp_path / "one", "hear", capsys) == 0
    hear = module_of(tmp_path / "one" / "hear_module.py")
    frames, _ = hear.get_timestamp_embeddings(SOUND, hear.load_model())
    assert_close(frames[:, 2:155], frames_of(layer))
    assert_close(frames[:, :2], frames[:, 2:3].expand(-1, 2, -1))  # from the beginning
    assert_close(frames[:, 155:], frames[:, 154:155].expand(-1, 2, -1))  # to the end
    assert export("log_mel:8+mfcc:", tmp_path / "two", "hear", capsys) == 0
    model = module_of(tmp_path / "two" / "hear_module.py").load_model()
    assert model.timestamp_embedding_size == 8 + 39


def test_the_card_of_the_encoder_goes_with_it(tmp_path, capsys):
    export("audiossl:small", tmp_path / "out", "mteb", capsys)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "### Audio of training" in card
    assert "464 values at 50 Hz" in card


MISTAKES = {
    "unknown form": (["log_mel:8", "--to", "onx"], "did you mean 'onnx'"),
    "a form with a path in it": (["log_mel:8", "--to", "../onnx"], "unknown form"),
    "a form of two lines": (["log_mel:8", "--to", "on\nnx"], "unknown form"),
    "nobody's form": (["log_mel:8", "--to", "python:nowhere:write"], "No module named 'nowhere'"),
    "type of weights": (["log_mel:8", "--to", "hear", "--dtype", "float16"], "--to spear"),
    "features of nothing": (["log_mel:8", "--to", "features"], "--clips"),
    "clips of no features": (["log_mel:8", "--to", "hear", "--clips", "a.wav"], "--to features"),
    "clips that are not there": (
        ["log_mel:8", "--to", "features", "--clips", "nowhere.wav"], "nowhere.wav"),
    "code of others": (["log_mel:8", "--to", "hf"], "--to onnx or torch"),
    "SPEAR of no Zipformer": (["log_mel:8"], "SPEAR's form is for a Zipformer"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_a_line_and_leave_nothing(tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (source, *words), reason = MISTAKES[name]
    assert main(["export", source, "out", *words]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert reason in told
    assert not list(tmp_path.iterdir())


def test_an_encoder_that_branches_on_its_input_is_a_line_without_its_graph(
    tmp_path, capfd, monkeypatch
):
    (tmp_path / "branching.py").write_text(
        "from torch import nn\n\nfrom audiossl.nn.frames import Frames\n\n\n"
        "class Branching(nn.Module):\n"
        "    sample_rate, frame_rate, dim = 16000, 50.0, 320\n\n"
        "    def forward(self, waveforms, lengths):\n"
        "        sign = -1 if bool((waveforms > 0).all()) else 1\n"
        "        frames = sign * waveforms.unfold(1, 320, 320)\n"
        "        return Frames(frames, lengths // 320, 50.0)\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["export", "python:branching:Branching", "out", "--to", "torch"]) == 2
    told = capfd.readouterr()
    assert not told.out
    assert told.err.count("\n") == 1
    assert "a Branching cannot be traced for any batch and duration" in told.err
    assert not (tmp_path / "out").exists()


def test_somebody_elses_form_is_a_file(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from audiossl.pretrained.certificate import Difference\n\n\n"
        "def write(place, export):\n"
        "    place.mkdir()\n"
        "    (place / 'rate').write_text(str(export.encoder.sample_rate))\n"
        "    return [Difference('frames', 0.0, 1.0)]\n"
    )
    monkeypatch.chdir(tmp_path)
    assert export("log_mel:8", tmp_path / "out", "python:mine:write", capsys) == 0
    assert (tmp_path / "out" / "rate").read_text() == "16000"


def test_an_export_that_is_another_network_is_refused(tmp_path, capsys, monkeypatch):
    (tmp_path / "wrong.py").write_text(
        "from audiossl.pretrained.certificate import Difference\n\n\n"
        "def write(place, export):\n"
        "    place.mkdir()\n"
        "    return [Difference('frames, 1 s', float('nan'), 1.0)]\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["export", "log_mel:8", "out", "--to", "python:wrong:write"]) == 2
    assert "not the encoder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_form_says_how_it_is_used():
    from importlib import import_module

    for form in FORMS.values():
        assert import_module(form.write.partition(":")[0]).USE.strip()
