import json
import pathlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from audiossl import load_encoder
from audiossl.errors import UserError
from audiossl.models.zipformer.config import TINY
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.weights import read_weights, write_weights
from audiossl.pretrained import spear
from tests.models.zipformer.golden import features, fill

WIDER = replace(TINY, dim=80, feed_forward_dim=112, num_layers=(1, 1, 2, 1, 1, 1, 1))
"""Of no public size: everything has to be found from shapes."""


@pytest.fixture(scope="module")
def state():
    network = fill(Zipformer(WIDER))
    tensors = {name: value.clone() for name, value in network.state_dict().items()}
    return {
        **tensors,
        "mask_emb": torch.randn(128),
        "codebook_loss_heads.0.linear2b_weight": torch.randn(2, 256, 80),
    }


def icefall(state, folder, name="iter-400000-avg-4.pt"):
    folder.mkdir(exist_ok=True)
    torch.save({"model": state}, folder / name)
    return folder / name


def training_checkpoint(state, folder):
    """With what icefall keeps beside the model: averages, optimizer, settings with paths."""
    folder.mkdir(exist_ok=True)
    content = {
        "model": {f"module.{name}": value for name, value in state.items()},
        "model_avg": {name: value.double() for name, value in state.items()},
        "optimizer": {"state": {0: {"delta": torch.zeros(3)}}, "param_groups": [{"lr": 0.045}]},
        "sampler": {"epoch": 1, "diagnostics": {"kept": 3}},
        "exp_dir": pathlib.PosixPath("exp/spear"),
        "best_train_loss": float("inf"),
    }
    torch.save(content, folder / "checkpoint-4000.pt")
    return folder / "checkpoint-4000.pt"


def hugging_face(state, folder):
    config = {
        "model_type": "spear", "num_mel_bins": 128, "pos_dim": 48,
        "output_downsampling_factor": 1, "downsampling_factor": "1,2,4,8,4,2,1",
        "num_encoder_layers": "1,1,2,1,1,1,1", "feedforward_dim": "112,112,112,112,112,112,112",
        "encoder_dim": "80,80,80,80,80,80,80", "encoder_unmasked_dim": "32,32,32,32,32,32,32",
        "cnn_module_kernel": "31,31,15,15,15,31,31", "num_heads": "4,4,4,4,4,4,4",
        "query_head_dim": "32", "pos_head_dim": 4, "value_head_dim": "12", "causal": False,
        "chunk_size": "8", "left_context_frames": "128", "torch_dtype": "float32",
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    # The mask embedding lies one wrapper further out.
    named = {f"model.{'' if n == 'mask_emb' else 'model.'}{n}": v for n, v in state.items()}
    write_weights(folder / "model.safetensors", named)
    return folder


FORMS = [icefall, training_checkpoint, hugging_face]


@pytest.mark.parametrize("form", FORMS)
def test_every_public_form_loads_to_the_same_network(state, tmp_path, form):
    place = form(state, tmp_path / "public")
    encoder = load_encoder(f"spear:{place}")
    # Frozen as the other: whether a weight can have a gradient decides how torch multiplies by it.
    expected = fill(Zipformer(WIDER)).requires_grad_(False)
    with torch.inference_mode():
        found, wanted = (network.encode_features(*features()) for network in (encoder, expected))
    assert torch.equal(found.vectors, wanted.vectors)
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not encoder.training
    if form is hugging_face:
        assert encoder.config == WIDER
    else:
        # What training does to channels leaves no trace in shapes.
        assert encoder.config == replace(WIDER, unmasked_dim=40)


@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_and_written_is_equal_to_the_bit(state, tmp_path, form):
    place = form(state, tmp_path / "public")
    checkpoint = spear.read_checkpoint(place)
    if form is hugging_face:
        spear.write_hugging_face(tmp_path / "again", checkpoint)
        first = read_weights(place / "model.safetensors")
        second = read_weights(tmp_path / "again" / "model.safetensors")
    else:
        spear.write_icefall(tmp_path / "again.pt", checkpoint)
        first, second = read_weights(place)["model"], read_weights(tmp_path / "again.pt")["model"]
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value.dtype == second[name].dtype
        assert torch.equal(value, second[name])


def test_a_folder_with_one_icefall_file_is_enough_and_two_are_too_many(state, tmp_path):
    icefall(state, tmp_path)
    assert load_encoder(f"spear:{tmp_path}").dim == 80
    icefall(state, tmp_path, "other.pt")
    with pytest.raises(UserError, match=r"2 \.pt files"):
        load_encoder(f"spear:{tmp_path}")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_become_float32_and_go_back_as_they_were(state, tmp_path, dtype):
    half = {name: value.to(dtype) for name, value in state.items()}
    place = icefall(half, tmp_path)
    encoder = load_encoder(f"spear:{place}")
    for name, value in encoder.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, half[name].float())
    spear.write_icefall(tmp_path / "again.pt", spear.read_checkpoint(place))
    assert read_weights(tmp_path / "again.pt")["model"]["mask_emb"].dtype == dtype


def test_25_hz_is_known_by_its_last_tensor(tmp_path):
    slow = fill(Zipformer(replace(TINY, output_stride=2)))
    encoder = load_encoder(f"spear:{icefall(slow.state_dict(), tmp_path)}")
    assert encoder.frame_rate == 25.0


def test_outputs_have_the_public_names(state, tmp_path):
    encoder = load_encoder(f"spear:{icefall(state, tmp_path)}")
    outputs = spear.public_outputs(encoder(torch.randn(2, 8000), torch.tensor([8000, 6000])))
    assert outputs["encoder_out"].shape == (2, 21, 80)
    assert outputs["encoder_out_lens"].tolist() == [21, 15]
    assert len(outputs["hidden_states"]) == 8
    assert torch.equal(outputs["hidden_states"][-1], outputs["encoder_out"])
    assert outputs.keys() > {"intermediate_hidden_states"}


FAR = "encoder.encoders.2.encoder.layers.1.conv_module1.out_proj.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({FAR: None}, rf"1 of 378 tensors missing \({FAR}\)"),
        ({FAR: torch.zeros(80, 81)}, rf"1 mis-shaped \({FAR} is \(80, 81\), expected \(80, 80\)"),
        ({"encoder.encoders.9.extra": torch.zeros(3)}, "1 unknown .*extra"),
        ({FAR: None, f"{FAR}s": torch.zeros(80, 80)}, "did you mean"),
        ({FAR: torch.full((80, 80), float("nan"))}, "NaN or infinite"),
        ({"decoder.weight": torch.zeros(3)}, r"1 unknown tensors \(decoder.weight\)"),
        ({"encoder_embed.out.weight": None}, "no tensor encoder_embed.out.weight"),
        ({"model.mask_emb": torch.zeros(128)}, "mask_emb is in it twice"),
    ],
)
def test_what_does_not_fit_is_said_by_name(state, tmp_path, change, message):
    changed = {name: value for name, value in {**state, **change}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        load_encoder(f"spear:{icefall(changed, tmp_path)}")


def test_a_missing_layer_of_a_public_size_is_missed(tmp_path):
    whole = fill(Zipformer(TINY)).state_dict()
    part = {n: v for n, v in whole.items() if "encoders.1.encoder.layers.1" not in n}
    with pytest.raises(UserError, match="44 of 378 tensors missing"):
        load_encoder(f"spear:{icefall(part, tmp_path)}")


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_with_code_is_refused_and_not_run(state, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in ({"model": state, "more": Bomb()}, Bomb()):
        place = tmp_path / "bomb.pt"
        torch.save(content, place)
        with pytest.raises(UserError, match="refused, because reading it would run code"):
            load_encoder(f"spear:{place}")
    place.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"bomb\.pt"):
        load_encoder(f"spear:{place}")
    assert not (tmp_path / "exploded").exists()


def test_what_is_no_checkpoint_at_all(tmp_path):
    place = tmp_path / "x.pt"
    for content, message in (
        ([1, 2], "expected tensors by name"),
        ({"model": {"a": 1}}, "'a' is no tensor"),
        ({"model": {"a": torch.zeros(3)}}, "not of SPEAR"),
    ):
        torch.save(content, place)
        with pytest.raises(UserError, match=message):
            load_encoder(f"spear:{place}")
    place.write_bytes(b"not a file of torch")
    with pytest.raises(UserError, match=r"x\.pt"):
        load_encoder(f"spear:{place}")
    with pytest.raises(UserError, match="no such file"):
        load_encoder(f"spear:{tmp_path / 'nothing.pt'}")


def test_causal_networks_and_stacks_that_differ_are_refused(state, tmp_path):
    folder = hugging_face(state, tmp_path / "public")
    config = json.loads((folder / "config.json").read_text())
    for change, message in (
        ({"causal": True}, "causal networks"),
        ({"encoder_dim": "80,80,80,96,80,80,80"}, "stacks that differ"),
        ({"num_heads": "four"}, "expected numbers"),
        ({"num_encoder_layers": None}, "num_encoder_layers"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(UserError, match=message):
            load_encoder(f"spear:{folder}")
