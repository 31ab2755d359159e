import json
import warnings

import pytest
import torch
from safetensors.torch import save_file

from audiossl.errors import UserError
from audiossl.pretrained.load import load_encoder
from audiossl.teachers import dasheng
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dasheng.pretrained.pretrained import Dasheng

CONFIG = {"embed_dim": 32, "depth": 3, "num_heads": 2, "target_length": 100}


@pytest.fixture(scope="module")
def package():
    torch.manual_seed(3)
    network = Dasheng(**CONFIG).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        network.init_bn[1].running_mean.normal_(-20, 5)
        network.init_bn[1].running_var.uniform_(100, 300)
    return network


@pytest.fixture(scope="module")
def file(package, tmp_path_factory):
    path = tmp_path_factory.mktemp("dasheng") / "dasheng.pt"
    torch.save({"model": package.state_dict(), "config": CONFIG}, path)
    return path


@pytest.mark.parametrize("num_samples", [16000, 16639, 6000, 47000])
def test_gives_what_the_package_gives(package, file, num_samples):
    # 47 000 samples are more than one chunk of a second, and 25 frames are one.
    waveform = 0.1 * torch.randn(1, num_samples)
    with torch.no_grad():
        expected = package(waveform)
    frames = dasheng.load(str(file))(waveform, torch.tensor([num_samples]))
    assert frames.lengths.tolist() == [expected.shape[1]]
    torch.testing.assert_close(frames.vectors, expected, atol=2e-4, rtol=1e-3)
    assert len(frames.layers) == 3
    normed = package.norm(frames.layers[-1])
    torch.testing.assert_close(normed, expected, atol=2e-4, rtol=1e-3)


def test_a_folder_of_the_hub_is_the_same_network(package, file, tmp_path):
    config = {"model_type": "dasheng", "name": "dasheng-tiny", "encoder_kwargs": CONFIG}
    (tmp_path / "config.json").write_text(json.dumps(config))
    state = {f"encoder.{name}": value for name, value in package.state_dict().items()
             if not name.startswith("front_end.")}  # fmt: skip
    save_file(state, tmp_path / "model.safetensors")
    waveform, lengths = 0.1 * torch.randn(1, 16000), torch.tensor([16000])
    expected = dasheng.load(str(file))(waveform, lengths).vectors
    assert torch.equal(load_encoder(f"dasheng:{tmp_path}")(waveform, lengths).vectors, expected)


def test_padding_does_not_matter(file):
    teacher = dasheng.load(str(file))
    check_padding_does_not_matter(teacher)
    check_padding_does_not_matter(teacher, seconds=(2.6, 0.4, 1.05))
    check_short_rows_have_no_frames(teacher, too_short=470)


def test_a_layer_is_taken_before_the_final_norm(file):
    waveform, lengths = 0.1 * torch.randn(1, 16000), torch.tensor([16000])
    every = dasheng.load(str(file))(waveform, lengths)
    second = dasheng.load(str(file), layer=2)(waveform, lengths)
    assert torch.equal(second.vectors, every.layers[1])
    assert len(second.layers) == 2
    with pytest.raises(UserError, match=r"dasheng has layers 1 to 3.*got 4"):
        dasheng.load(str(file), layer=4)


def test_says_what_is_wrong_with_a_file(package, file, tmp_path):
    path = tmp_path / "other.pt"
    torch.save({"model": package.state_dict(), "config": {**CONFIG, "n_mels": 128}}, path)
    with pytest.raises(UserError, match="n_mels = 128, where only 64 is known"):
        dasheng.load(str(path))
    torch.save({"model": package.state_dict()}, path)
    with pytest.raises(UserError, match=r"no Dasheng of a known width \(32\)"):
        dasheng.load(str(path))
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="no Dasheng: it has no time_pos_embed"):
        dasheng.load(str(path))
    with pytest.raises(UserError, match="no such file"):
        dasheng.load("none.pt")


def test_public_shapes_are_known_without_a_config(tmp_path):
    state = {"time_pos_embed": torch.zeros(1, 768, 1, 252), "blocks.11.norm1.bias": torch.zeros(1)}
    shape = dasheng._shape(state, {}, "x")
    assert (shape.dim, shape.num_heads, shape.chunk) == (768, 12, 252)
