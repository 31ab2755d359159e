"""The encoder that comes with the package: it loads, is small, and can be gone on from."""

import pytest
import torch

from audiossl.atomic_files import read_json, write_json
from audiossl.errors import UserError
from audiossl.models.build import build_encoder
from audiossl.models.efficientnet import EfficientNetConfig
from audiossl.models.layered import Layered
from audiossl.nn.weights import read_weights
from audiossl.optim.build import AdamWConfig, build_optimizer
from audiossl.pretrained.embed import embed
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import CONFIG, WEIGHTS, write_encoder
from audiossl.pretrained.sources import SHIPPED, parse_source, paths_of
from egs.debian_packages.small.average import average
from egs.debian_packages.small.restate import restated
from egs.debian_packages.small.ship import ship
from recipes.pretraining import take_weights


def test_they_are_within_six_megabytes_and_have_cards():
    files = [path for folder in SHIPPED.values() for path in folder.iterdir()]
    assert sum(path.stat().st_size for path in files) <= 6_000_000
    for folder in SHIPPED.values():
        assert {path.name for path in folder.iterdir()} == {WEIGHTS, CONFIG, "README.md"}


def test_music_is_small_with_other_upper_layers():
    small, music = (load_encoder(f"audiossl:{name}") for name in ("small", "music"))
    assert music.config == small.config
    assert music.presentation == small.presentation
    known = small.state_dict()
    changed = {
        name for name, value in music.state_dict().items() if not torch.equal(value, known[name])
    }
    assert changed == set(read_weights(SHIPPED["music"] / WEIGHTS))
    assert not any(name.startswith("network.encoder_embed") for name in changed)
    noise = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    assert music(noise).clip.isfinite().all()
    assert not torch.equal(music(noise).clip, small(noise).clip)


def test_its_name_needs_no_folder_and_wins_over_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = load_encoder("audiossl:small")
    frames = encoder(torch.randn(1, 16000, generator=torch.Generator().manual_seed(0)))
    assert (frames.vectors.shape[2], frames.clip.shape) == (464, (1, 1392))
    (tmp_path / "small").mkdir()
    assert parse_source("audiossl:small").place == str(SHIPPED["small"])
    assert parse_source("small").place == "small"
    assert parse_source("audiossl:small#2").layer == 2
    assert paths_of("audiossl:small") == [SHIPPED["small"]]


def test_a_name_that_does_not_ship_is_told_from_those_that_do():
    with pytest.raises(UserError, match=r"musc, which is no folder; did you mean 'music'.*:small"):
        load_encoder("audiossl:musc")


def test_pretraining_goes_on_from_its_weights_if_the_network_is_the_same():
    shipped = load_encoder("audiossl:small")
    assert isinstance(shipped, Layered)
    encoder = build_encoder(shipped.config)
    take_weights(encoder, "audiossl:small")
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, shipped.state_dict()[name]), name
    other = build_encoder(EfficientNetConfig(width=0.05, depth=0.1))
    with pytest.raises(UserError, match=r"initial_weights: audiossl:small.*missing.*small.yaml"):
        take_weights(other, "audiossl:small")


def test_an_encoder_that_shares_weights_with_a_shipped_one_is_written_without_them(tmp_path):
    encoder = load_encoder("audiossl:small")
    top = encoder.network.encoder.encoders[4]
    with torch.no_grad():
        for parameter in top.parameters():
            parameter.add_(0.01)
    write_encoder(tmp_path / "run", encoder, {"last": {}})
    assert ship(tmp_path / "run", tmp_path / "shipped", "small") > 0.999
    written = read_weights(tmp_path / "shipped" / WEIGHTS)
    assert {name.split(".")[3] for name in written} == {"4"}
    loaded = load_encoder(tmp_path / "shipped")
    for name, value in load_encoder("audiossl:small").state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value) == (name not in written), name
    content = read_json(tmp_path / "shipped" / CONFIG)
    write_json(tmp_path / "shipped" / CONFIG, {**content, "base": "large"})
    with pytest.raises(UserError, match=r"config.json: base 'large': expected small or music"):
        load_encoder(tmp_path / "shipped")


def test_other_statistics_are_standardized_over_clips_and_leave_weights_as_they_are():
    encoder = load_encoder("audiossl:small")
    draws = torch.Generator().manual_seed(0)
    clips = [0.1 * torch.randn(8000 + 500 * n, generator=draws).cumsum(0).numpy() for n in range(9)]
    other = restated(encoder, clips, ("deviation", "mean"))
    vectors = embed(clips, other)
    assert vectors.shape == (9, 2 * encoder.dim)
    torch.testing.assert_close(vectors.mean(0), torch.zeros(928), atol=1e-3, rtol=0)
    variance = other.clip_norm.running_variance
    kept = (variance / (variance + other.clip_norm.epsilon)).sqrt()
    torch.testing.assert_close(vectors.std(0), kept, atol=1e-3, rtol=0)
    assert float(kept.median()) > 0.99
    for name, value in encoder.state_dict().items():
        assert name.startswith("clip_norm.") or torch.equal(other.state_dict()[name], value), name


def test_a_rate_of_zero_freezes():
    encoder = build_encoder(EfficientNetConfig(width=0.05, depth=0.1))
    optimizer = build_optimizer(AdamWConfig(), encoder, {"stem": 0.0})
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad == (id(parameter) in trained) == ("stem" not in name), name


def test_the_mean_of_two_encoders_lies_between_them(tmp_path):
    encoder, shipped = load_encoder("audiossl:small"), load_encoder("audiossl:small").state_dict()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.5)
    write_encoder(tmp_path / "run", encoder, {"loop": {"steps": 3}})
    average("audiossl:small", str(tmp_path / "run"), tmp_path / "mean")
    mean = load_encoder(tmp_path / "mean")
    for name, parameter in mean.named_parameters():
        torch.testing.assert_close(parameter.detach(), shipped[name] + 0.25)
    assert read_json(tmp_path / "mean" / CONFIG)["provenance"]["loop"] == {"steps": 3}
