import pytest
import torch
import torchaudio
from torchaudio.models import wav2vec2_model, wavlm_model
from torchaudio.pipelines import Wav2Vec2Bundle

from audiossl.errors import UserError
from audiossl.teachers import torchaudio_bundle
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

COMMON = {
    "extractor_conv_layer_config": [(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2,
    "extractor_conv_bias": False,
    "encoder_embed_dim": 32,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 3,
    "encoder_num_heads": 2,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 64,
    "encoder_ff_interm_dropout": 0.1,
    "encoder_dropout": 0.1,
    "encoder_layer_drop": 0.1,
    "aux_num_out": None,
}
BASE = {"extractor_mode": "group_norm", "encoder_layer_norm_first": False}
LARGE = {"extractor_mode": "layer_norm", "encoder_layer_norm_first": True}
POSITIONS = {"encoder_num_buckets": 20, "encoder_max_distance": 40}
BUNDLES = {
    "TINY_BASE": Wav2Vec2Bundle("tiny_base.pth", {**COMMON, **BASE}, 16000, False, "Wav2Vec2"),
    "TINY_LARGE": Wav2Vec2Bundle("tiny_large.pth", {**COMMON, **LARGE}, 16000, True, "Wav2Vec2"),
    "TINY_WAVLM": Wav2Vec2Bundle(
        "torchaudio/tiny_wavlm.pth", {**COMMON, **LARGE, **POSITIONS}, 16000, True, "WavLM"
    ),
}
each = pytest.mark.parametrize("name", BUNDLES)


@pytest.fixture(autouse=True)
def _small_bundles(monkeypatch):
    for name, bundle in BUNDLES.items():
        monkeypatch.setattr(torchaudio.pipelines, name, bundle, raising=False)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(8)
    made = {}
    for name, bundle in BUNDLES.items():
        build = wavlm_model if bundle._model_type == "WavLM" else wav2vec2_model
        made[name] = build(**bundle._params).eval()
        with torch.no_grad():
            for parameter in made[name].parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.fixture(scope="module")
def files(networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / f"{name.lower()}.pth")
    return {name: folder / f"{name.lower()}.pth" for name in networks}


@each
def test_one_waveform_gives_what_torchaudio_gives(networks, files, name):
    waveform = torch.randn(1, 9000) + 0.2
    normalize = BUNDLES[name]._normalize_waveform
    heard = torch.nn.functional.layer_norm(waveform, waveform.shape) if normalize else waveform
    frames = torchaudio_bundle.load(str(files[name]))(waveform, torch.tensor([9000]))
    with torch.no_grad():
        layers, _ = networks[name].extract_features(heard)
        final, _ = networks[name](heard)
    for ours, theirs in zip((*frames.layers, frames.vectors), (*layers, final), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@each
def test_padding_does_not_matter(files, name):
    teacher = torchaudio_bundle.load(str(files[name]))
    check_padding_does_not_matter(teacher)
    check_short_rows_have_no_frames(teacher, too_short=399)


@each
def test_a_layer_is_taken_as_it_leaves_the_block(files, name):
    waveform, lengths = torch.randn(1, 9000), torch.tensor([9000])
    every = torchaudio_bundle.load(str(files[name]))(waveform, lengths)
    second = torchaudio_bundle.load(f"{name}={files[name]}", layer=2)
    torch.testing.assert_close(second(waveform, lengths).vectors, every.layers[1])
    assert f"torchaudio {name} layer 2" in second.convention


def test_names_of_old_weight_norms_are_read(networks, files, tmp_path):
    state = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in networks["TINY_BASE"].state_dict().items()
    }
    torch.save(state, tmp_path / "tiny_base.pth")
    waveform, lengths = torch.randn(1, 5000), torch.tensor([5000])
    old = torchaudio_bundle.load(str(tmp_path / "tiny_base.pth"))(waveform, lengths)
    new = torchaudio_bundle.load(str(files["TINY_BASE"]))(waveform, lengths)
    assert torch.equal(old.vectors, new.vectors)


def test_says_which_bundle_is_missing(files):
    with pytest.raises(
        UserError, match=r"some.pth: is not the name.*torchaudio:HUBERT_BASE=<file>"
    ):
        torchaudio_bundle.load("weights/some.pth")
    with pytest.raises(UserError, match="no bundle 'HUBERT_BSE'; did you mean 'HUBERT_BASE'"):
        torchaudio_bundle.load(f"HUBERT_BSE={files['TINY_BASE']}")
    with pytest.raises(UserError, match="no such file"):
        torchaudio_bundle.load("TINY_BASE=none.pth")
    with pytest.raises(UserError, match="weights do not fit the network"):
        torchaudio_bundle.load(f"TINY_LARGE={files['TINY_BASE']}")


def test_real_bundles_are_found_by_their_files():
    bundles = torchaudio_bundle._bundles()
    assert torchaudio_bundle._bundle_of_file("wavlm_large.pth", bundles) == "WAVLM_LARGE"
    assert (
        torchaudio_bundle._bundle_of_file("hubert_fairseq_base_ls960.pth", bundles) == "HUBERT_BASE"
    )
    assert "WAV2VEC2_ASR_BASE_960H" not in bundles
