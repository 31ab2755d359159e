"""Folders with the layout of public corpora, and audio of the mini corpus inside."""

import csv
import json
import os
import shutil
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from egs.fma.local.labels import track_path
from egs.magnatagatune.local.labels import TAGS

ROOT = Path(__file__).parents[2]
MINI = ROOT / "egs" / "mini" / "data"
RATE = 16_000
STEMS = ("drums", "bass", "other", "vocals")


def mini_music(count: int, seconds: float) -> list[np.ndarray]:
    """Mixtures of the mini corpus, repeated until they last: (samples,) at RATE."""
    folders = sorted((MINI / "music").iterdir())
    return [_mixture(folders[7 * number % len(folders)], seconds) for number in range(count)]


def _spread(paths: Iterable[Path], seconds: float) -> None:
    """Write three mixtures in turn: encoding takes longer than everything else."""
    written: list[Path] = []
    for number, path in enumerate(paths):
        if number < 3:
            _write(path, mini_music(number + 1, seconds)[-1])
            written.append(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(written[number % 3], path)


def magnatagatune(folder: Path, seconds: float = 29.124) -> Path:
    """Build two clips in each of six folders, two of them without a tag, and a broken one."""
    lines = []
    for number in range(12):
        name = f"{'0bcdef'[number // 2]}/artist-album-{number:02d}-song-0-29.mp3"
        tags = ("drums", "no vocals") if number % 2 else ("guitar",)
        lines.append((number, () if number in (0, 8) else tags, name))
    _spread([folder / name for _, _, name in lines], seconds)
    (folder / "0" / "broken-0-29.mp3").write_bytes(b"")
    lines.append((99, ("guitar",), "0/broken-0-29.mp3"))
    with (folder / "annotations_final.csv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["clip_id", *sorted(TAGS), "quack", "mp3_path"])
        for identity, tags, name in lines:
            flags = [str(int(tag in tags)) for tag in sorted(TAGS)]
            writer.writerow([identity, *flags, "0", name])
    return folder


def fma(folder: Path, seconds: float = 8.0) -> Path:
    """Build twelve tracks of two genres in three splits, and the name of a broken one."""
    identities = [2, 5, 10, 140, 141, 148, 182, 190, 193, 194, 197, 200]
    paths = [folder / track_path("fma_small", f"{identity:06d}") for identity in identities]
    _spread(paths, seconds)
    head = [
        ["", "set", "set", "track", "track", "artist"],
        ["", "split", "subset", "genre_top", "title", "id"],
        ["track_id", "", "", "", "", ""],
    ]
    for number, identity in enumerate(identities):
        split = ("training", "training", "validation", "test")[number // 2 % 4]
        genre = ("Rock", "Folk")[number % 2]
        head.append([identity, split, "small", genre, "a title,\nof two lines", number])
    (folder / "fma_small" / "099").mkdir()
    (folder / track_path("fma_small", "099134")).write_bytes(b"")
    head.append([99134, "training", "small", "Rock", "broken", 50])
    (folder / "fma_metadata").mkdir()
    with (folder / "fma_metadata" / "tracks.csv").open("w", newline="") as file:
        csv.writer(file).writerows(head)
    return folder


def musdb18(folder: Path, seconds: float = 8.0) -> Path:
    """Build six songs; what a piece of the mini corpus lacks of the four stems is faint noise."""
    songs = ["train/A - One", "train/B - Two", "train/C - Three", "train/Leaf - Summerghost"]
    pieces = [p for p in sorted((MINI / "music").iterdir()) if len(list(p.glob("*.ogg"))) > 2]
    generator = np.random.default_rng(0)
    for song, piece in zip([*songs, "test/D - Four", "test/E - Five"], pieces, strict=False):
        stems = {}
        for name in STEMS:
            path = piece / f"{name}.ogg"
            noise = 0.2 * generator.standard_normal(int(seconds * RATE)).astype(np.float32)
            stems[name] = _looped(_read(path), seconds) if path.exists() else noise
        stems["mixture"] = np.sum(list(stems.values()), axis=0)
        for name, stem in stems.items():
            _write(folder / song / f"{name}.wav", stem / 4)
    return folder


def packages(folder: Path) -> Path:
    """Build what `fetch.sh` leaves of a few packages, with scores that are rendered already."""
    unpacked = folder / "unpacked"
    _scores(folder)
    speech, sounds = (
        sorted((MINI / "speech").rglob("*.ogg")),
        sorted((MINI / "sounds").rglob("*.ogg")),
    )
    voice = unpacked / "asterisk-prompt-it-menardi-wav/usr/share/asterisk/sounds/it_IT_f_Menardi"
    ogg = unpacked / "gcin-voice/usr/share/gcin-voice/ogg"
    for number in range(12):
        _write(voice / "digits" / f"{number}.wav", _read(speech[number]))
        _write(ogg / f"syllable{number}" / "3.ogg", _read(speech[100 + number]))
        _write(ogg / f"syllable{number}" / "5.ogg", _read(speech[200 + number]))
    mods = unpacked / "minetest-data/usr/share/games/minetest"
    for number in range(12):
        _write(mods / f"door{number}_open_door.ogg", _read(sounds[number]))
        _write(mods / f"grass{number}_footstep.ogg", _read(sounds[100 + number]))
    # The same content under two names is one clip.
    shutil.copy(mods / "grass0_footstep.ogg", mods / "grass99_footstep.ogg")
    songs = unpacked / "fretsonfire-songs-sectoid/usr/share/games/fretsonfire/data/songs/sectoid"
    pieces = [p for p in sorted((MINI / "music").iterdir()) if (p / "guitar.ogg").exists()]
    for number, piece in enumerate(pieces[::3][:6]):
        _write(songs / f"Song {number}" / "guitar.ogg", _looped(_read(piece / "guitar.ogg"), 21))
        _write(songs / f"Song {number}" / "song.ogg", _looped(_read(piece / "backing.ogg"), 21))
    music = unpacked / "singularity-music/usr/share/games/singularity/music"
    for number, mixture in enumerate(mini_music(6, 10)):
        _write(music / f"Piece {number}.ogg", mixture)
    return folder


def _scores(folder: Path) -> None:
    """Write a WAD of scores, and the excerpts that a synthesizer would have made of them."""
    names = ["drums", "bass", "other", "vocals"]
    pieces = [p for p in sorted((MINI / "music").iterdir()) if (p / "drums.ogg").exists()]
    pieces.sort(key=lambda piece: len(list(piece.iterdir())))
    # Some with one or two stems, some with all four: a probe needs both.
    pieces = pieces[:10] + pieces[-10:]
    directory, body = b"", b""
    for number, piece in enumerate(pieces):
        out = folder / "decoded" / "music" / "freedoom1" / f"{number}"
        found = [name for name in names if (piece / f"{name}.ogg").exists()]
        for name in found:
            samples = _looped(_read(piece / f"{name}.ogg"), 10)
            _write(out / "000" / f"{name.replace('vocals', 'voice')}.flac", samples)
        groups = [name.replace("vocals", "voice") for name in found]
        place = str((out / "000").relative_to(folder))
        (out / "done.json").write_text(json.dumps({place: groups}))
        lump = b"MThd" + bytes([number])
        directory += struct.pack("<II8s", 12 + len(body), len(lump), f"D_{number}".encode())
        body += lump
    wad = folder / "unpacked" / "freedoom" / "usr" / "share" / "games" / "doom" / "freedoom1.wad"
    wad.parent.mkdir(parents=True)
    wad.write_bytes(struct.pack("<4sII", b"IWAD", len(pieces), 12 + len(body)) + body + directory)


def environment() -> dict[str, str]:
    """Make the environment in which recipes run: quiet threads."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def _mixture(folder: Path, seconds: float) -> np.ndarray:
    stems = [_read(path) for path in sorted(folder.glob("*.ogg"))]
    return _looped(np.sum(stems, axis=0) / 2, seconds)


def _read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def _looped(samples: np.ndarray, seconds: float) -> np.ndarray:
    return np.resize(samples, int(seconds * RATE))


def _write(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(samples, -1, 1), RATE)
