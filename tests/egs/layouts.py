"""Folders with the layout of public corpora, and audio of the mini corpus inside."""

import csv
import gzip
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


def english(folder: Path) -> Path:
    """Build three corpora of English speech: chapters, podcasts, and pieces of sessions."""
    voices = [_read(path) for path in sorted((MINI / "speech" / "en_allison_smith").glob("*.ogg"))]
    voices = [voice[: 6 * RATE] for voice in voices if len(voice) > RATE][:30]
    _libriheavy(folder / "libriheavy", voices[:16])
    _gigaspeech(folder / "gigaspeech", voices[16:24])
    for number, voice in enumerate(voices[24:]):
        year, session = 2009 + number // 4, f"20090112-0900-PLENARY-{number}-en_20090112"
        _write(
            folder / "voxpopuli" / "unlabelled_data" / "en" / f"{year}" / f"{session}.ogg", voice
        )
    return folder


def _libriheavy(folder: Path, voices: list[np.ndarray]) -> None:
    """Write two parts of eight cuts, each of one chapter of Libri-Light."""
    for part, said in (("small", voices[:8]), ("medium", voices[8:])):
        chapter = f"{part}/100/sea_fairies_0812_librivox_64kb_mp3/01_baum_sea_fairies_64kb"
        source = f"download/librilight/{chapter}.flac"
        _write(folder / source, np.concatenate(said))
        recording = _recording(chapter, source, sum(map(len, said)))
        cuts, start = [], 0.0
        for number, voice in enumerate(said):
            place, name = {"start": start, "duration": len(voice) / RATE}, f"{chapter}_{number}"
            spoken = {
                "id": name, "recording_id": chapter, "start": 0, "duration": place["duration"],
                "channel": 0, "language": "English", "speaker": "100",
                "custom": {"texts": ["Sea fairies.", "sea fairies"], "begin_byte": 0},
            }  # fmt: skip
            cuts.append(
                {
                    "id": name, **place, "channel": 0, "supervisions": [spoken],
                    "recording": recording, "custom": {"text_path": "x.txt"}, "type": "MonoCut",
                }
            )  # fmt: skip
            start += place["duration"]
        with gzip.open(folder / f"libriheavy_cuts_{part}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(cut) + "\n" for cut in cuts)


def _recording(name: str, source: str, samples: int) -> dict[str, object]:
    return {
        "id": name, "sources": [{"type": "file", "channels": [0], "source": source}],
        "sampling_rate": RATE, "num_samples": samples, "duration": samples / RATE,
        "channel_ids": [0],
    }  # fmt: skip


def _gigaspeech(folder: Path, voices: list[np.ndarray]) -> None:
    """Write one podcast in Opus, whose last segment is music."""
    path = "audio/podcast/P0000/POD0000000001.opus"
    (folder / path).parent.mkdir(parents=True)
    sound = np.concatenate(voices)
    soundfile.write(folder / path, sound, RATE, format="OGG", subtype="OPUS")
    segments, start = [], 0.0
    for number, voice in enumerate(voices):
        last = number == len(voices) - 1
        segments.append(
            {
                "sid": f"POD0000000001_S000000{number}", "speaker": "N/A",
                "begin_time": start, "end_time": start + len(voice) / RATE,
                "text_tn": "<MUSIC>" if last else "HELLO <COMMA> YOU <PERIOD>",
                "subsets": ["{XL}"],
            }
        )  # fmt: skip
        start += len(voice) / RATE
    audio = {
        "aid": "POD0000000001", "path": path, "source": "podcast", "codec": "opus", "channels": 1,
        "duration": len(sound) / RATE, "sample_rate": RATE, "subsets": ["{XL}"],
        "segments": segments,
    }  # fmt: skip
    table = {"dataset": "GigaSpeech", "language": "EN", "version": "v1.0.0", "audios": [audio]}
    (folder / "GigaSpeech.json").write_text(json.dumps(table))


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
