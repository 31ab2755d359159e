import os
import struct
import tracemalloc
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from audiossl.audio.files import audio_info, read_audio, read_if_short, read_waveform
from audiossl.errors import Skip, UserError

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
LOSSY = {"ogg", "opus", "mp3"}


def music(sample_rate=16_000, seconds=3.0, channels=1):
    """A swelling chord, which codecs keep, with some noise, which makes frames of all sizes."""
    time = np.arange(int(sample_rate * seconds)) / sample_rate
    chord = sum(np.sin(2 * np.pi * f * time) for f in (220, 440, 660)) * np.sin(2 * time) / 5
    noise = np.random.default_rng(0).standard_normal((len(time), channels)) / 50
    return (chord[:, None] + noise).astype(np.float32)


def write(path, kind, samples, sample_rate, **options):
    container, encoding = FORMATS[kind]
    with path.open("wb") as file:
        soundfile.write(file, samples, sample_rate, format=container, subtype=encoding, **options)
    return path


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["sound.wav", "sound.mp3", "sound.raw", "sound"])
def test_the_content_decides_and_not_the_name(tmp_path, kind, name):
    samples = music()
    path = write(tmp_path / name, kind, samples, 16_000)
    found = read_waveform(path)
    assert found.shape == (48_000,)
    assert found.dtype == np.float32
    error = np.sqrt(np.mean((found - samples[:, 0]) ** 2))
    assert error < (0.02 if kind in LOSSY else 3e-5)
    info = audio_info(path)
    assert (info.container, info.encoding) == FORMATS[kind]
    assert (info.num_samples, info.sample_rate, info.duration) == (48_000, 16_000, 3.0)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("cut", [0.6, 0.97])
def test_a_truncated_file_is_never_taken_for_a_whole_one(tmp_path, kind, cut, capfd):
    path = write(tmp_path / "whole", kind, music(), 16_000)
    content = path.read_bytes()
    half = tmp_path / "half.wav"
    half.write_bytes(content[: int(len(content) * cut)])
    with pytest.raises(Skip, match=r"half\.wav: truncated .*allow truncated files"):
        read_waveform(half)
    found = read_waveform(half, allow_truncated=True)
    assert (cut - 0.4) * 48_000 < len(found) < 48_000
    np.testing.assert_allclose(found[:-600], read_waveform(path)[: len(found)][:-600], atol=1e-6)


@pytest.mark.parametrize("kind", FORMATS)
def test_not_even_a_few_bytes_are_taken_for_a_file(tmp_path, kind, capfd):
    content = write(tmp_path / "whole", kind, music(), 16_000).read_bytes()
    for num_bytes in (1, 4, 12, 40, 60, 200, 1_000):
        (tmp_path / "stub").write_bytes(content[:num_bytes])
        with pytest.raises(Skip, match="stub: "):
            read_waveform(tmp_path / "stub")


def test_sizes_that_writers_to_a_pipe_invent_are_no_damage(tmp_path):
    content = write(tmp_path / "whole.wav", "wav", music(), 16_000).read_bytes()
    for size in (0xFFFFFFFF, 0x7FFFF000):
        piped = content[:4] + struct.pack("<I", size) + content[8:40] + struct.pack("<I", size)
        (tmp_path / "piped.wav").write_bytes(piped + content[44:])
        assert len(read_waveform(tmp_path / "piped.wav")) == 48_000


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus", "mp3"])
def test_damage_in_the_middle_is_found_in_compressed_files(tmp_path, kind):
    path = write(tmp_path / "sound", kind, music(), 16_000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes(byte ^ 0x5A for byte in content[middle : middle + 300])
    path.write_bytes(content)
    with pytest.raises(Skip, match="decoding stops at"):
        read_waveform(path)


def test_an_mp3_whose_length_cannot_be_known_is_refused_and_not_cut_short(tmp_path):
    samples = music(44_100, 6.0) * np.linspace(0, 1, 6 * 44_100, dtype=np.float32)[::-1, None] ** 4
    options = {"bitrate_mode": "VARIABLE", "compression_level": 0.1}
    path = write(tmp_path / "variable.mp3", "mp3", samples, 44_100, **options)
    content = path.read_bytes()
    assert audio_info(path).num_samples == len(samples)
    # The first frame holds nothing but the table; without it the decoder guesses from the bit rate.
    second = content.index(content[:2], 100)
    path.write_bytes(content[second:])
    with pytest.raises(Skip, match=r"variable bit rate without a table.*ffmpeg"):
        read_waveform(path)


def test_an_mp3_of_constant_bit_rate_needs_no_table(tmp_path):
    options = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}
    path = write(tmp_path / "constant.mp3", "mp3", music(44_100), 44_100, **options)
    content = path.read_bytes()
    tagged = b"ID3\x03\x00\x00\x00\x00\x02\x00" + bytes(256)
    second = content.index(content[:2], 100)
    assert b"Info" in content[:second]
    path.write_bytes(tagged + content[second:])
    assert abs(len(read_waveform(path, sample_rate=44_100)) - 3 * 44_100) < 3 * 1152


@pytest.mark.parametrize("kind", FORMATS)
def test_a_piece_equals_the_slice_of_the_whole(tmp_path, kind, capfd):
    rate = 48_000 if kind == "opus" else 44_100
    path = write(tmp_path / "sound", kind, music(rate, 5.0, channels=2), rate)
    whole = read_waveform(path)
    for start, duration in ((0.0, 1.0), (1.23456, 2.0), (3.3, None), (4.5, 0.5), (0.01, 0.0002)):
        first = int(start * 16_000 + 0.5)
        last = int((start + duration) * 16_000 + 0.5) if duration else len(whole)
        piece = read_waveform(path, start=start, duration=duration)
        np.testing.assert_allclose(piece, whole[first:last], atol=1e-6)
    assert capfd.readouterr().err == ""  # libmpg123 complains after jumps


@pytest.mark.parametrize("kind", FORMATS)
def test_one_opening_gives_what_two_give(tmp_path, kind):
    rate = 48_000 if kind == "opus" else 44_100
    path = write(tmp_path / "sound", kind, music(rate, 2.0, channels=2), rate)
    info, samples = read_if_short(path, sample_rate=16_000, longest=2.5)
    assert info == audio_info(path)
    np.testing.assert_array_equal(samples, read_waveform(path))
    assert read_if_short(path, sample_rate=16_000, longest=1.5) == (info, None)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_099, 192_000])
def test_every_sample_rate_comes_out_as_asked(tmp_path, rate):
    path = write(tmp_path / "sound.wav", "float.wav", music(rate, 1.5), rate)
    expected = librosa.resample(
        music(rate, 1.5)[:, 0], orig_sr=rate, target_sr=16_000, res_type="soxr_hq"
    )
    found = read_waveform(path)
    assert abs(len(found) - 24_000) <= 1
    np.testing.assert_allclose(found, expected[: len(found)], atol=1e-5)


def test_eight_channels_are_averaged_or_kept(tmp_path):
    samples = music(channels=8)
    path = write(tmp_path / "array.wav", "float.wav", samples, 16_000)
    np.testing.assert_allclose(read_waveform(path), samples.mean(axis=1), atol=1e-6)
    audio = read_audio(path)
    np.testing.assert_array_equal(audio.samples, samples.T)
    assert audio.sample_rate == 16_000
    assert read_audio(path, sample_rate=8_000).samples.shape == (8, 24_000)


def test_memory_holds_the_result_and_one_block(tmp_path):
    samples = np.zeros((192_000 * 10, 8), np.int16)
    soundfile.write(tmp_path / "long.wav", samples, 192_000)
    tracemalloc.start()
    assert len(read_waveform(tmp_path / "long.wav")) == 160_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4e6  # the decoded file would be 61 MB, the result is 0.6


def test_one_sample_is_one_sample_where_the_rate_allows(tmp_path):
    one = np.full((1, 1), 0.5, np.float32)
    assert read_waveform(write(tmp_path / "one.wav", "wav", one, 16_000)) == pytest.approx([0.5])
    with pytest.raises(Skip, match=r"not one sample at 16000 Hz \(1 at 44100 Hz\)"):
        read_waveform(write(tmp_path / "one.wav", "wav", one, 44_100))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_number_is_found_wherever_it_is(tmp_path, value):
    for position in (0, 40_000):
        samples = music()
        samples[position] = value
        path = write(tmp_path / "bad.wav", "float.wav", samples, 16_000)
        with pytest.raises(Skip, match=r"bad\.wav: NaN or infinite samples from about \d"):
            read_waveform(path)


def test_integers_written_as_floats_are_named(tmp_path):
    path = write(tmp_path / "loud.wav", "float.wav", music() * 32768, 16_000)
    with pytest.raises(Skip, match=r"loud\.wav: samples as large as .*32768 for 16-bit"):
        read_waveform(path)


def test_float_files_beyond_full_scale_are_left_as_they_are(tmp_path):
    path = write(tmp_path / "hot.wav", "float.wav", music() * 4, 16_000)
    np.testing.assert_array_equal(read_waveform(path), music()[:, 0] * 4)


@pytest.mark.parametrize("rate", [7, 2**31 - 1])
def test_absurd_sample_rates_are_named(tmp_path, rate):
    soundfile.write(tmp_path / "absurd.wav", np.zeros(100), rate)
    with pytest.raises(Skip, match=rf"absurd\.wav: its header says {rate} Hz"):
        audio_info(tmp_path / "absurd.wav")


@pytest.mark.parametrize("claimed", [0, 2**36 - 1])
def test_a_flac_that_does_not_know_its_length_is_named(tmp_path, claimed):
    path = write(tmp_path / "streamed.flac", "flac", music(), 16_000)
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | claimed >> 32
    content[22:26] = (claimed & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(Skip, match=r"streamed\.flac: its header says nothing of its length"):
        read_waveform(path)


def make_folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file"),
        (make_folder, "not a file"),
        (os.mkfifo, "not a file"),
        (lambda path: path.write_bytes(b""), r"empty file \(0 bytes\)"),
        (lambda path: path.write_text("hello" * 99), "not audio that libsndfile reads"),
        (lambda path: path.write_bytes(b"\0\0\0 ftypM4A " + bytes(99)), "MPEG-4 audio.*ffmpeg"),
        (
            lambda path: path.write_bytes(b"RIFF\x24\0\0\0WAVE"),
            "not audio .*damaged at its start.*data",
        ),
        (lambda path: soundfile.write(path, np.zeros(0), 16_000), "a header without samples"),
    ],
)
def test_what_is_no_audio_is_named_in_one_line(tmp_path, make, message):
    path = tmp_path / "broken.wav"
    make(path)
    for read in (audio_info, read_waveform, read_audio):
        with pytest.raises(Skip, match=rf"broken\.wav: {message}") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_file_without_permission_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "secret.wav", "wav", music(), 16_000)

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Skip, match=r"secret\.wav: cannot be read \(Permission denied\)"):
        read_waveform(path)


def test_no_file_stays_open(tmp_path):
    (tmp_path / "text.wav").write_text("hello" * 99)
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(5):
        with pytest.raises(Skip):
            read_waveform(tmp_path / "text.wav")
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


def test_a_piece_beyond_the_end_is_refused_but_rounding_is_not(tmp_path):
    path = write(tmp_path / "short.wav", "wav", music(seconds=2.0), 16_000)
    for start, duration in ((2.0, None), (1.5, 0.6), (3.0, 1.0)):
        with pytest.raises(Skip, match=r"short\.wav: lasts 2\.000 s, asked for"):
            read_waveform(path, start=start, duration=duration)
    assert len(read_waveform(path, start=1.0, duration=1.005)) == 16_000


@pytest.mark.parametrize("wrong", [{"start": -1.0}, {"duration": 0.0}, {"sample_rate": 0}])
def test_senseless_pieces_are_the_callers_mistake(tmp_path, wrong):
    path = write(tmp_path / "sound.wav", "wav", music(), 16_000)
    with pytest.raises(UserError) as caught:
        read_waveform(path, **wrong)
    assert not isinstance(caught.value, Skip)


@pytest.mark.parametrize("kind", FORMATS)
def test_files_joined_into_one_are_never_taken_for_the_first_of_them(tmp_path, kind, capfd):
    rate = 48_000 if kind == "opus" else 44_100
    one = write(tmp_path / "one", kind, music(rate), rate).read_bytes()
    two = write(tmp_path / "two", kind, music(rate, 5.0), rate).read_bytes()
    tags = [b"", b"TAG" + bytes(125), b"ID3\x03\0\0\0\0\x02\0" + bytes(256)]
    for between in tags if kind == "mp3" else tags[:1]:
        (tmp_path / "joined").write_bytes(one + between + two)
        with pytest.raises(Skip, match=r"joined: .*(several files joined into one|RIFF|FORM)"):
            read_waveform(tmp_path / "joined")


@pytest.mark.parametrize("table", [True, False])
def test_an_mp3_without_a_table_and_one_behind_it_are_refused(tmp_path, table, capfd):
    options = {"bitrate_mode": "CONSTANT", "compression_level": 0.5}
    content = write(tmp_path / "one.mp3", "mp3", music(44_100), 44_100, **options).read_bytes()
    second = content[content.index(content[:2], 100) :]
    (tmp_path / "joined.mp3").write_bytes(second + b"ID3\x03\0\0\0\0\x02\0" + bytes(256) + content)
    with pytest.raises(Skip, match="several files joined"):
        read_waveform(tmp_path / "joined.mp3")
    # Tags alone are no second file.
    tags = b"APETAGEX" + bytes(4) + (100).to_bytes(4, "little") + bytes(116) + b"TAG" + bytes(125)
    (tmp_path / "tagged.mp3").write_bytes((content if table else second) + tags)
    assert len(read_waveform(tmp_path / "tagged.mp3", sample_rate=44_100)) > 2.9 * 44_100
