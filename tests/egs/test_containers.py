"""Archives of games: what was put in comes out."""

import io
import struct

import numpy as np
import soundfile

from egs.debian_packages.local.containers import cat_sounds, doom_sound, wad_lumps


def sound(samples: np.ndarray, rate: int) -> bytes:
    pad = bytes([128] * 16)
    return struct.pack("<HHI", 3, rate, len(samples) + 32) + pad + samples.tobytes() + pad


def test_lumps_and_sounds_of_a_wad(tmp_path):
    samples = np.arange(256, dtype=np.uint8)
    lumps = {"DSPISTOL": sound(samples, 11025), "D_E1M1": b"MThd....", "E1M1": b""}
    directory, body = b"", b""
    for name, lump in lumps.items():
        directory += struct.pack("<II8s", 12 + len(body), len(lump), name.encode())
        body += lump
    path = tmp_path / "x.wad"
    path.write_bytes(struct.pack("<4sII", b"IWAD", 3, 12 + len(body)) + body + directory)
    read = dict(wad_lumps(path))
    assert read == lumps
    decoded = doom_sound(read["DSPISTOL"])
    assert decoded is not None
    assert decoded[1] == 11025
    np.testing.assert_array_equal(decoded[0] * 128 + 128, samples)
    assert doom_sound(read["D_E1M1"]) is None
    assert doom_sound(read["E1M1"]) is None


def test_sounds_of_a_cat(tmp_path):
    entries, wave = [], io.BytesIO()
    soundfile.write(wave, np.linspace(-0.5, 0.5, 100), 22050, format="WAV", subtype="PCM_16")
    for title in ('"Horn". By A. License: B.', '"Bell".'):
        entries.append((title.encode() + b"\0", wave.getvalue()))
    offset, directory, body = 8 * len(entries), b"", b""
    for title, data in entries:
        directory += struct.pack("<II", offset + len(body), len(data))
        body += bytes([len(title)]) + title + data
    (tmp_path / "x.cat").write_bytes(directory + body)
    found = list(cat_sounds(tmp_path / "x.cat"))
    assert [title for title, _, _ in found] == ['"Horn". By A. License: B.', '"Bell".']
    assert {rate for _, _, rate in found} == {22050}
    np.testing.assert_allclose(found[0][1][:, 0], np.linspace(-0.5, 0.5, 100), atol=1e-4)
