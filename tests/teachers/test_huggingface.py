import json
import os
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    SeamlessM4TFeatureExtractor,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperFeatureExtractor,
)

from audiossl.errors import UserError
from audiossl.pretrained.load import load_encoder
from audiossl.teachers import huggingface
from tests.teachers import tiny
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

GOLDEN = Path(__file__).parents[1] / "golden" / "huggingface.safetensors"
NETWORKS = tiny.networks()
FAMILY = [name for name in NETWORKS if name not in ("whisper", "w2v-bert")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        name: tiny.save(network, tmp_path_factory.mktemp(name))
        for name, network in NETWORKS.items()
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_does_not_matter(folders, name):
    teacher = huggingface.load(str(folders[name]))
    check_padding_does_not_matter(teacher)
    check_short_rows_have_no_frames(teacher, too_short=319)


def golden_frames(folder):
    """The output and the last layer, for a waveform and a shorter one in a batch."""
    seconds = torch.arange(9000) / 16000
    waveforms = torch.stack([torch.sin(2000 * seconds**2), torch.sin(700 * seconds)]) * 0.3
    found = {}
    for which, teacher in {
        "output": huggingface.load(str(folder)),
        "layer.3": huggingface.load(str(folder), 3),
    }.items():
        frames = teacher(waveforms, torch.tensor([9000, 4000]))
        found[which] = frames.vectors[0, :9].clone()
        found[f"{which}.shorter"] = frames.vectors[1, :9].clone()
    return found


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "w2v-bert"])
def test_frames_are_the_same_with_every_version_of_transformers(folders, name):
    # Written with 4.57.6; 5.23.0 agreed. What the libraries call the last hidden state does not.
    golden = load_file(GOLDEN)
    for which, frames in golden_frames(folders[name]).items():
        torch.testing.assert_close(frames, golden[f"{name}.{which}"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", FAMILY)
def test_one_waveform_gives_what_the_library_gives(folders, name):
    waveform = torch.randn(1, 9000) + 0.3
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    inputs = extractor(waveform[0].numpy(), sampling_rate=16000, return_tensors="pt")
    network = getattr(NETWORKS[name], NETWORKS[name].base_model_prefix, NETWORKS[name])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = network(inputs.input_values, output_hidden_states=True)
    frames = huggingface.load(str(folders[name]))(waveform, torch.tensor([9000]))
    close = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(frames.vectors, expected.last_hidden_state, **close)
    assert len(frames.layers) == 3
    for layer, hidden in zip(frames.layers[:-1], expected.hidden_states[1:-1], strict=True):
        torch.testing.assert_close(layer, hidden, **close)


def test_waveforms_are_standardized_only_where_the_folder_says_so(tmp_path):
    folder = tiny.save(NETWORKS["wavlm-base"], tmp_path, normalize=False)
    waveform = torch.randn(1, 9000)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = NETWORKS["wavlm-base"](waveform).last_hidden_state
    frames = huggingface.load(str(folder))(waveform, torch.tensor([9000]))
    torch.testing.assert_close(frames.vectors, expected, atol=1e-4, rtol=1e-4)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"preprocessor_config.json: missing.*do_normalize"):
        huggingface.load(str(folder))


def test_what_a_folder_does_not_say_of_waveforms_is_said_behind_its_name(folders, tmp_path):
    waveform, lengths = torch.randn(1, 9000) + 1.0, torch.tensor([9000])
    network = NETWORKS["hubert-base"]
    folder = tiny.save(network, tmp_path / "bare")
    expected = {
        word: huggingface.load(str(tiny.save(network, tmp_path / word, normalize=word == "true")))
        for word in ("true", "false")
    }
    (folder / "preprocessor_config.json").unlink()
    for word, teacher in expected.items():
        encoder = load_encoder(f"hf:{folder}?normalize={word}#2")
        assert torch.equal(encoder(waveform, lengths).vectors, teacher(waveform, lengths).layers[1])
        assert ("standardized each" in encoder.layer_convention) == (word == "true")
    with pytest.raises(UserError, match="normalize=no: expected true or false"):
        load_encoder(f"hf:{folder}?normalize=no")
    with pytest.raises(UserError, match=r"'normalise' is no option of hf:; did you mean"):
        load_encoder(f"hf:{folder}?normalise=true")
    with pytest.raises(UserError, match="whisper standardizes no waveforms"):
        load_encoder(f"hf:{folders['whisper']}?normalize=true")


MERT = {"model_type": "mert_model", "sample_rate": 24000, "auto_map": {"AutoModel": "code.Model"}}


def test_a_mert_is_a_hubert_at_its_own_rate_and_its_code_is_not_run(tmp_path):
    network = NETWORKS["hubert-base"]
    folder = _edited(tiny.save(network, tmp_path / "hubert"), tmp_path / "mert", **MERT)
    (folder / "code.py").write_text("open('ran', 'w')")
    waveform, lengths = torch.randn(1, 9000), torch.tensor([9000])
    encoder, hubert = load_encoder(f"hf:{folder}"), huggingface.load(str(tmp_path / "hubert"))
    assert (encoder.sample_rate, encoder.frame_rate) == (24000, 75.0)
    assert torch.equal(encoder(waveform, lengths).vectors, hubert(waveform, lengths).vectors)
    folder = _edited(folder, tmp_path / "constant_q", feature_extractor_cqt=True)
    with pytest.raises(UserError, match="constant-Q"):
        huggingface.load(str(folder))


def test_deepnorm_of_a_mert_is_that_of_the_paper(tmp_path):
    network = NETWORKS["hubert-base"]
    folder = tiny.save(network, tmp_path / "hubert")
    folder = _edited(folder, tmp_path / "mert", **MERT, deepnorm=True)
    waveform, lengths = torch.randn(1, 9000), torch.tensor([9000])
    frames = huggingface.load(str(folder))(waveform, lengths)
    alpha = (2 * 3) ** 0.25
    with torch.no_grad():
        before = huggingface.load(str(tmp_path / "hubert"))
        before.network.encoder.layers[0].register_forward_pre_hook(
            lambda block, inputs: given.append(inputs[0])
        )
        given = []
        before(waveform, lengths)
        hidden = given[0]
        for block, layer in zip(network.encoder.layers, frames.layers, strict=True):
            hidden = block.layer_norm(alpha * hidden + block.attention(hidden)[0])
            hidden = block.final_layer_norm(alpha * hidden + block.feed_forward(hidden))
            torch.testing.assert_close(layer, hidden, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("num_samples", [9000, 16160])
def test_w2v_bert_gives_what_the_library_gives(folders, num_samples):
    waveform = 0.1 * torch.randn(num_samples)
    extractor = SeamlessM4TFeatureExtractor(feature_size=80, num_mel_bins=80, stride=2)
    inputs = extractor(waveform.numpy(), sampling_rate=16000, return_tensors="pt")
    valid = int(inputs.attention_mask.sum())
    with torch.no_grad():
        expected = NETWORKS["w2v-bert"](**inputs, output_hidden_states=True)
    frames = load_encoder(f"hf:{folders['w2v-bert']}")(waveform[None], torch.tensor([num_samples]))
    assert frames.lengths.tolist() == [valid]
    close = {"atol": 2e-3, "rtol": 2e-3}
    torch.testing.assert_close(frames.vectors, expected.last_hidden_state[:, :valid], **close)
    for layer, hidden in zip(frames.layers, expected.hidden_states[1:], strict=True):
        torch.testing.assert_close(layer, hidden[:, :valid], **close)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_leaves_its_block_without_the_final_norm_and_later_blocks_do_not_run(folders, name):
    waveform, lengths = torch.randn(1, 9000), torch.tensor([9000])
    every = huggingface.load(str(folders[name]))(waveform, lengths)
    for layer in (1, 2, 3):
        teacher = huggingface.load(str(folders[name]), layer)
        frames = teacher(waveform, lengths)
        torch.testing.assert_close(frames.vectors, every.layers[layer - 1])
        assert len(frames.layers) == layer
        assert f"layer {layer}" in teacher.convention
    normalized = name in ("wavlm-large", "hubert-large", "whisper")
    assert torch.equal(every.vectors, every.layers[-1]) != normalized


def test_layers_are_counted_from_one(folders):
    for layer in (0, 4, -1):
        with pytest.raises(UserError, match=f"wavlm has layers 1 to 3.*got {layer}"):
            huggingface.load(str(folders["wavlm-base"]), layer)


def test_a_model_with_an_adapter_is_refused(tmp_path):
    sizes = {**tiny.SIZES, "add_adapter": True, "num_adapter_layers": 1, "output_hidden_size": 16}
    network = Wav2Vec2Model(Wav2Vec2Config(**sizes))
    with pytest.raises(UserError, match="adapter behind its last layer"):
        huggingface.load(str(tiny.save(network, tmp_path)))


def test_whispers_front_end_is_the_librarys(folders):
    teacher = huggingface.load(str(folders["whisper"]))
    waveform = 0.1 * torch.randn(13000)
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    inputs = extractor(waveform.numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        expected = NETWORKS["whisper"].model.encoder(inputs.input_features).last_hidden_state
    frames = teacher(waveform[None], torch.tensor([13000]))
    assert frames.lengths.tolist() == [40]
    torch.testing.assert_close(frames.vectors, expected, atol=1e-3, rtol=1e-3)


def test_whisper_hears_a_long_waveform_window_by_window(folders):
    teacher = huggingface.load(str(folders["whisper"]))
    waveform = 0.1 * torch.randn(1, 40000)
    frames = teacher(waveform, torch.tensor([40000]))
    assert frames.lengths.tolist() == [125]
    second = teacher(waveform[:, 16000:32000], torch.tensor([16000]))
    torch.testing.assert_close(frames.vectors[:, 50:100], second.vectors)


class _Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)


def _edited(folder, target, **changes):
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **changes}))
    return target


def test_says_what_is_wrong_with_a_folder(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="none: no such folder"):
        huggingface.load("none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"config.json: cannot be read"):
        huggingface.load("empty")
    good = folders["wavlm-base"]
    folder = _edited(good, tmp_path / "bert", model_type="bert")
    with pytest.raises(UserError, match=r"holds a model of type 'bert'.*wavlm, hubert"):
        huggingface.load(str(folder))
    folder = _edited(good, tmp_path / "bare")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"bare: no weights: neither model.safetensors nor"):
        huggingface.load(str(folder))
    torch.save({"encoder": _Runs()}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model.bin: refused.*would run code"):
        huggingface.load(str(folder))
    assert not (tmp_path / "ran").exists()
    folder = _edited(good, tmp_path / "wrong", num_hidden_layers=4)
    with pytest.raises(UserError, match=r"wrong: weights do not fit.*tensors missing.*layers.3"):
        huggingface.load(str(folder))


def test_reads_torch_files_and_shards_with_the_names_of_old_weight_norms(folders, tmp_path):
    waveform, lengths = torch.randn(1, 9000), torch.tensor([9000])
    expected = huggingface.load(str(folders["wavlm-base"]))(waveform, lengths).vectors
    state = NETWORKS["wavlm-base"].state_dict()
    old = {
        "wavlm."
        + name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in state.items()
    }
    old["lm_head.weight"] = torch.zeros(3, 32)
    folder = _edited(folders["wavlm-base"], tmp_path / "old")
    (folder / "model.safetensors").unlink()
    torch.save(old, folder / "pytorch_model.bin")
    assert torch.equal(huggingface.load(str(folder))(waveform, lengths).vectors, expected)

    folder = tmp_path / "shards"
    NETWORKS["wavlm-base"].save_pretrained(folder, max_shard_size="60KB")
    assert (folder / "model.safetensors.index.json").is_file()
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true}')
    assert torch.equal(huggingface.load(str(folder))(waveform, lengths).vectors, expected)
