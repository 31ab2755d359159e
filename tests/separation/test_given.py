import numpy as np
import pytest
import soundfile

from audiossl.errors import Skip, UserError
from audiossl.separation.given import GivenConfig, GivenStems
from tests.separation.mixtures import CORPUS

RATE = 16_000
NAMES = ("drums", "bass", "vocals", "other")


def noise(seed, seconds=1.0, level=0.1):
    generator = np.random.default_rng(seed)
    return (generator.standard_normal(int(RATE * seconds)) * level).astype(np.float32)


def write_stems(folder, suffix=".wav", names=NAMES, seconds=1.0):
    folder.mkdir(parents=True, exist_ok=True)
    stems = {name: noise(index, seconds) for index, name in enumerate(names)}
    for name, stem in stems.items():
        soundfile.write(folder / f"{name}{suffix}", stem, RATE, subtype="FLOAT")
    soundfile.write(folder / "mixture.wav", sum(stems.values()), RATE, subtype="FLOAT")
    return stems


def test_stems_come_back_as_they_were_and_sum_to_the_mixture(tmp_path):
    stems = write_stems(tmp_path / "song")
    given = GivenStems(GivenConfig(residual=-60.0))
    files = given.find(tmp_path / "song" / "mixture.wav")
    found = given.read(files, sum(stems.values()))
    for name in NAMES:
        np.testing.assert_array_equal(found.stems[name], stems[name])
    assert found.absent == found.silent == ()
    np.testing.assert_allclose(given.read(files).mixture, found.mixture, atol=1e-6)


def test_a_piece_of_a_recording_is_read(tmp_path):
    stems = write_stems(tmp_path)
    given = GivenStems(GivenConfig())
    found = given.read(given.find(tmp_path), start=0.25, duration=0.5)
    np.testing.assert_array_equal(found.stems["bass"], stems["bass"][4_000:12_000])


@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        ("{folder}/{stem}.*", "Song [live]/{stem}.wav"),
        ("{folder}/stems/{name}-{stem}.wav", "Song [live]/stems/mixture [1]-{stem}.wav"),
        ("{folder}/stems/{name}/{stem}*.wav", "Song [live]/stems/mixture [1]/{stem}_take2.wav"),
    ],
)
def test_stems_are_found_where_the_pattern_says(tmp_path, pattern, place):
    for name in NAMES:
        path = tmp_path / place.format(stem=name)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, noise(0), RATE)
    mixture = tmp_path / "Song [live]" / "mixture [1].flac"
    files = GivenStems(GivenConfig(pattern=pattern)).find(mixture)
    assert {name: tmp_path / place.format(stem=name) for name in NAMES} == files


def test_stems_of_one_source_are_summed_and_others_left_out(tmp_path):
    stems = write_stems(tmp_path, names=("guitar", "song", "crowd"))
    given = GivenStems(GivenConfig(sources={"guitar": "other", "song": "other"}))
    assert given.names == ("other",)
    found = given.read(given.find(tmp_path))
    np.testing.assert_allclose(found.stems["other"], stems["guitar"] + stems["song"], atol=1e-7)


def test_a_missing_stem_leaves_the_recording_out_unless_it_means_silence(tmp_path):
    write_stems(tmp_path)
    (tmp_path / "vocals.wav").unlink()
    with pytest.raises(Skip, match="no stem vocals: complete it, or set absent to silent"):
        GivenStems(GivenConfig()).find(tmp_path)
    given = GivenStems(GivenConfig(absent="silent"))
    found = given.read(given.find(tmp_path))
    assert found.absent == found.silent == ("vocals",)
    assert found.stems["vocals"].shape == (RATE,)
    assert not found.stems["vocals"].any()


def test_a_recording_without_any_stem_is_always_left_out(tmp_path):
    with pytest.raises(Skip, match="not one stem found"):
        GivenStems(GivenConfig(absent="silent")).find(tmp_path)
    with pytest.raises(Skip, match="without one stem"):
        GivenStems(GivenConfig()).read({})


def test_two_files_for_one_stem_are_not_chosen_from(tmp_path):
    write_stems(tmp_path)
    write_stems(tmp_path, suffix=".WAV")
    with pytest.raises(Skip, match="are both the stem drums"):
        GivenStems(GivenConfig()).find(tmp_path)


@pytest.mark.parametrize(("seconds", "word"), [(0.9, "shorter"), (1.1, "longer")])
def test_a_stem_of_another_length_is_refused(tmp_path, seconds, word):
    stems = write_stems(tmp_path)
    soundfile.write(tmp_path / "bass.wav", noise(0, seconds), RATE)
    given = GivenStems(GivenConfig())
    files = given.find(tmp_path)
    with pytest.raises(
        Skip, match=rf"bass\.wav: {word} than its mixture \({seconds}00 s for 1\.000"
    ):
        given.read(files, sum(stems.values()))


def test_rounding_of_lengths_is_evened_out(tmp_path):
    stems = write_stems(tmp_path)
    soundfile.write(tmp_path / "bass.wav", stems["bass"][:-100], RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "other.wav", noise(9, 1.005), RATE, subtype="FLOAT")
    given = GivenStems(GivenConfig())
    found = given.read(given.find(tmp_path), sum(stems.values()))
    assert {len(stem) for stem in found.stems.values()} == {RATE}
    np.testing.assert_array_equal(found.stems["bass"][:-100], stems["bass"][:-100])
    assert not found.stems["bass"][-100:].any()


def test_silent_stems_are_named_but_not_all_may_be(tmp_path):
    stems = write_stems(tmp_path)
    soundfile.write(tmp_path / "drums.wav", noise(0, level=1e-6), RATE, subtype="FLOAT")
    given = GivenStems(GivenConfig())
    found = given.read(given.find(tmp_path), sum(stems.values()))
    assert found.silent == ("drums",)
    assert found.absent == ()
    for name in NAMES:
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(RATE), RATE)
    with pytest.raises(Skip, match="all stems are silent, but their mixture is not"):
        given.read(given.find(tmp_path), sum(stems.values()))
    silence = np.zeros(RATE, np.float32)
    assert given.read(given.find(tmp_path), silence).silent == NAMES


def test_stems_of_another_mixture_are_found_out_if_asked(tmp_path):
    stems = write_stems(tmp_path)
    mixture = sum(stems.values())
    for residual, passes in ((None, True), (-30.0, False), (10.0, True)):
        given = GivenStems(GivenConfig(residual=residual))
        if passes:
            given.read(given.find(tmp_path), mixture[::-1].copy())
        else:
            with pytest.raises(Skip, match=r"do not sum up to is at \d.* dB .*allowed are -30"):
                given.read(given.find(tmp_path), mixture[::-1].copy())
            given.read(given.find(tmp_path), mixture + noise(7, level=1e-4))


def test_a_stem_that_cannot_be_read_says_so(tmp_path):
    write_stems(tmp_path)
    (tmp_path / "bass.wav").write_bytes(b"RIFF")
    given = GivenStems(GivenConfig())
    with pytest.raises(Skip, match=r"bass\.wav: "):
        given.read(given.find(tmp_path))


def test_the_corpus_of_the_project_is_read():
    config = GivenConfig(absent="silent", residual=-60.0)
    given = GivenStems(config)
    found = given.read(given.find(CORPUS / "music/freedoom1_D_E1M1_0"))
    assert found.absent == ("vocals",)
    assert "vocals" in found.silent
    assert len(found.mixture) == 10 * RATE


@pytest.mark.parametrize(
    "wrong", [{"sources": {}}, {"pattern": "{folder}/a.wav"}, {"pattern": "{track}/{stem}"}]
)
def test_senseless_configs_are_refused(wrong):
    with pytest.raises(UserError, match="given: "):
        GivenStems(GivenConfig(**wrong))


def test_identity_knows_every_setting():
    assert GivenStems(GivenConfig()).identity != GivenStems(GivenConfig(silence=-70.0)).identity
