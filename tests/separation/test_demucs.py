import random

import numpy as np
import pytest
import torch
from demucs.api import Separator as TheirSeparator
from demucs.apply import BagOfModels, apply_model

from audiossl.errors import UserError
from audiossl.separation.demucs import Demucs, DemucsConfig, load_demucs
from audiossl.separation.demucs_weights import write_network
from audiossl.separation.recordings import separate_recordings
from audiossl.separation.separator import Separator
from tests.separation.networks import SOURCES, small_htdemucs


@pytest.fixture(scope="module")
def bag():
    return BagOfModels([small_htdemucs()]).eval()


@pytest.fixture(scope="module")
def demucs(bag):
    return Demucs(bag)


def noise(num_samples, channels=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(channels, num_samples, generator=generator)


def centered(mixture):
    return mixture - mixture.mean()


def test_it_is_a_separator_that_says_what_it_is(demucs):
    assert isinstance(demucs, Separator)
    assert demucs.names == tuple(SOURCES)
    assert (demucs.sample_rate, demucs.num_channels, demucs.window) == (44_100, 2, 66_150)


def test_long_recordings_agree_with_demucs_own_windows(bag, demucs):
    hop = int(0.75 * demucs.window)
    # Of this length the same windows fit in, but for the one that demucs adds at the very end.
    mixtures = [centered(noise(demucs.window + 2 * hop, seed=s)) for s in (0, 1)]
    found = separate_recordings(
        demucs,
        [mixture.numpy() for mixture in mixtures],
        sample_rate=44_100,
        output_rate=44_100,
        batch_size=4,
    )
    for mixture, stems in zip(mixtures, found, strict=True):
        scale = mixture.mean(dim=0).std()
        with torch.no_grad():
            theirs = apply_model(bag, mixture[None] / scale, shifts=0, overlap=0.25)[0] * scale
        for index, name in enumerate(SOURCES):
            ours, expected = stems[name], theirs[index].mean(dim=0).numpy()
            assert len(ours) == mixture.shape[1]
            inner = slice(0, 3 * hop)
            np.testing.assert_allclose(ours[inner], expected[inner], atol=1e-4)


def test_a_recording_of_one_window_agrees_with_demucs_separator(tmp_path, bag, demucs):
    mixture = noise(demucs.window, channels=2, seed=3) * 3
    write_network(tmp_path / "955717e8.safetensors", bag.models[0])
    theirs = TheirSeparator.__new__(TheirSeparator)
    theirs._model, theirs._samplerate, theirs._audio_channels = bag, 44_100, 2
    theirs.update_parameter(
        device="cpu",
        shifts=0,
        split=False,
        overlap=0.25,
        segment=None,
        jobs=0,
        progress=False,
        callback=None,
        callback_arg=None,
    )
    _, expected = theirs.separate_tensor(mixture)
    (stems,) = separate_recordings(
        demucs, [mixture.numpy()], sample_rate=44_100, output_rate=44_100
    )
    for name in SOURCES:
        # Demucs adds the mean of the mixture to every stem; ours leave it out.
        theirs_centered = expected[name].mean(dim=0) - mixture.mean()
        np.testing.assert_allclose(stems[name], theirs_centered.numpy(), atol=1e-5)


def test_a_batch_equals_its_items_whatever_their_levels(demucs):
    windows = torch.stack([noise(demucs.window, seed=s) * 10.0**-s for s in range(3)])
    together = demucs.separate(windows)
    for index in range(3):
        alone = demucs.separate(windows[index : index + 1])
        for name in SOURCES:
            scale = windows[index].abs().max()
            torch.testing.assert_close(
                together[name][index] / scale, alone[name][0] / scale, atol=1e-5, rtol=0
            )


def test_mono_at_44100_hz_is_separated(demucs):
    mono = noise(30_000, channels=1)[0].numpy()
    options = {"sample_rate": 44_100, "output_rate": 44_100}
    (from_mono,) = separate_recordings(demucs, [mono], **options)
    (from_stereo,) = separate_recordings(demucs, [np.stack([mono, mono])], **options)
    np.testing.assert_allclose(from_mono["bass"], from_stereo["bass"], atol=1e-6)


def test_16_khz_mono_comes_back_as_16_khz_mono(demucs):
    mixture = noise(40_000, channels=1)[0].numpy()
    (stems,) = separate_recordings(demucs, [mixture])
    assert {len(stem) for stem in stems.values()} == {40_000}


def test_stems_follow_the_level_of_the_mixture(demucs):
    mixture = centered(noise(40_000, channels=1))[0].numpy()
    quiet, loud = separate_recordings(demucs, [mixture / 100, mixture])
    for name in SOURCES:
        np.testing.assert_allclose(quiet[name] * 100, loud[name], atol=1e-5)


def test_silence_gives_silence(demucs):
    (stems,) = separate_recordings(demucs, [np.zeros(20_000, np.float32)])
    assert not any(stem.any() for stem in stems.values())


def test_nothing_is_random(demucs):
    runs = []
    for seed in (0, 1):
        random.seed(seed)
        torch.manual_seed(seed)
        mixtures = [noise(n, channels=1)[0].numpy() for n in (40_000, 10_000)]
        runs.append(list(separate_recordings(demucs, mixtures, batch_size=3)))
    for first, second in zip(*runs, strict=True):
        for name in SOURCES:
            np.testing.assert_array_equal(first[name], second[name])


def test_bfloat16_stays_close(bag, demucs):
    mixture = [noise(20_000, channels=1)[0].numpy()]
    (exact,) = separate_recordings(demucs, mixture)
    (rounded,) = separate_recordings(Demucs(bag, precision="bfloat16"), mixture)
    for name in SOURCES:
        error = rounded[name] - exact[name]
        assert 0 < np.square(error).mean() < 0.01 * np.square(exact[name]).mean()


@pytest.mark.gpu
def test_on_an_accelerator_nothing_is_random_and_little_differs(demucs):
    there = Demucs(BagOfModels([small_htdemucs()]).eval(), device="cuda")
    mixtures = [noise(n, channels=1)[0].numpy() for n in (40_000, 10_000)]
    runs = [list(separate_recordings(there, mixtures, batch_size=3)) for _ in range(2)]
    here = list(separate_recordings(demucs, mixtures))
    for first, second, expected in zip(*runs, here, strict=True):
        for name in SOURCES:
            np.testing.assert_array_equal(first[name], second[name])
            np.testing.assert_allclose(first[name], expected[name], atol=1e-2)


def test_windows_too_long_or_senselessly_short_are_refused(bag, demucs):
    with pytest.raises(UserError, match="windows of 66151 samples, at most 66150"):
        demucs.separate(torch.zeros(1, 2, 66_151))
    with pytest.raises(UserError, match=r"segment=1\.6 s.*trained on 1\.5 s"):
        Demucs(bag, segment=1.6)
    with pytest.raises(UserError, match="a shorter window saves nothing"):
        Demucs(bag, segment=1.0)
    with pytest.raises(UserError, match="overlap=1"):
        Demucs(bag, overlap=1.0)


def test_identity_knows_the_weights_and_every_setting(bag):
    other = BagOfModels([small_htdemucs(seed=1)]).eval()
    identities = [
        Demucs(bag).identity,
        Demucs(other).identity,
        Demucs(bag, overlap=0.1).identity,
        Demucs(bag, precision="bfloat16").identity,
        Demucs(BagOfModels(list(bag.models), [[1.0, 1.0, 1.0, 0.5]]).eval()).identity,
    ]
    assert Demucs(bag).identity == identities[0]
    assert all(identities[0] != other for other in identities[1:])


def test_a_config_says_where_the_weights_are(tmp_path, bag):
    write_network(tmp_path / "955717e8.safetensors", bag.models[0])
    config = DemucsConfig(folder=str(tmp_path))
    assert load_demucs(config).identity == Demucs(bag).identity
    for config in (DemucsConfig(), DemucsConfig(folder="here", hub=True)):
        with pytest.raises(UserError, match=r"set folder .* or hub"):
            load_demucs(config)


def test_the_hub_is_asked_only_if_asked_for(tmp_path, bag, monkeypatch):
    asked = []

    def snapshot_download(repository, **options):
        asked.append(repository)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    write_network(tmp_path / "955717e8.safetensors", bag.models[0])
    load_demucs(DemucsConfig(folder=str(tmp_path)))
    assert asked == []
    load_demucs(DemucsConfig(hub=True))
    load_demucs(DemucsConfig(name="someone/htdemucs", hub=True))
    assert asked == ["adefossez/HTDemucs", "someone/HTDemucs"]


def test_a_hub_that_does_not_answer_is_a_users_error(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    def snapshot_download(repository, **options):
        raise OSError("no route to host\nmore")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(UserError, match=r"cannot be fetched \(no route to host\).*set folder"):
        load_demucs(DemucsConfig(hub=True))
