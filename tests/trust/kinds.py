"""Kinds of bad input, and what is right for each: refused in a line, left out by name, or read."""

import gzip
import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import torch
from safetensors.torch import save_file

from tests.data.corpora import RATE, tone
from tests.data.published import write_hear_task, write_tars

Words = tuple[str, list[str]]
"""A program and its words."""
Expected = Literal["refused", "left out", "read", "clean"]
"""refused: exit code 2 and a line; left out: the others are read, it is named; clean: either."""
CPU = ["--device", "cpu"]


@dataclass(frozen=True)
class Case:
    """A folder for one try, and the world it may copy from."""

    folder: Path
    world: Path

    def copy(self, name: str) -> Path:
        """Copy an output of the world, to be spoilt."""
        place = self.folder / name
        shutil.copytree(self.world / name, place)
        return place


@dataclass(frozen=True)
class Kind:
    """A kind of bad input at one door."""

    door: str
    name: str
    expected: Expected
    make: Callable[[Case], Words] | None


def kinds() -> list[Kind]:
    """List all."""
    found: list[Kind] = []
    families = (
        _audio, _tables, _trials, _kaldi, _lhotse, _benchmarks, _settings, _options, _folders,
        _sources,
    )  # fmt: skip
    for family in families:
        found += family()
    return found


# Audio: each beside a good file, at three doors.


def _wav(path: Path, data: np.ndarray | None = None, rate: int = RATE, **options: str) -> None:
    soundfile.write(path, tone(0.6, 440) if data is None else data, rate, **options)


def _encoded(suffix: str, **options: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(1.0, 440), RATE, format=suffix.upper(), **options)
    return file.getvalue()


def _header(**fields: int) -> bytes:
    """Write the header of a WAV file with fields of any value."""
    known = {"size": 36 + 19200, "channels": 1, "rate": RATE, "block": 2, "bits": 16, "data": 19200}
    f = known | fields

    def pack(number: int, width: int) -> bytes:
        return number.to_bytes(width, "little")

    return (
        b"RIFF" + pack(f["size"], 4) + b"WAVEfmt " + pack(16, 4) + pack(1, 2)
        + pack(f["channels"], 2) + pack(f["rate"], 4) + pack(f["rate"] * 2 & 0xFFFFFFFF, 4)
        + pack(f["block"], 2) + pack(f["bits"], 2) + b"data" + pack(f["data"], 4)
    )  # fmt: skip


def _wav_as(path: Path) -> None:
    path.write_bytes(_encoded("wav"))


def _bytes(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content)


def _middle_cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


BODY = (9600 * np.sin(np.arange(9600) / 5)).astype("<i2").tobytes()
AUDIO: dict[str, tuple[str, Expected, Callable[[Path], None]]] = {
    "empty file": ("x.wav", "left out", _bytes(b"")),
    "zeros": ("x.wav", "left out", _bytes(bytes(5000))),
    "text": ("x.wav", "left out", _bytes(b"not audio\n" * 50)),
    "picture": ("x.wav", "left out", _bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))),
    "zip": ("x.flac", "left out", _bytes(b"PK\3\4" + bytes(99))),
    "gzip of wav": ("x.wav", "left out", _bytes(gzip.compress(_encoded("wav")))),
    "half a header": ("x.wav", "left out", _bytes(_encoded("wav")[:20])),
    "header without data": ("x.wav", "left out", _bytes(_header(data=0))),
    "header says 4 GiB": ("x.wav", "clean", _bytes(_header(data=0xFFFFFFF0) + BODY)),
    "no channels": ("x.wav", "left out", _bytes(_header(channels=0) + BODY)),
    "60000 channels": ("x.wav", "left out", _bytes(_header(channels=60000) + BODY)),
    "rate 0": ("x.wav", "left out", _bytes(_header(rate=0) + BODY)),
    "rate of 2 GHz": ("x.wav", "left out", _bytes(_header(rate=2**31 - 1) + BODY)),
    "3 bits": ("x.wav", "clean", _bytes(_header(bits=3) + BODY)),
    "random bytes behind a header": ("x.wav", "read", lambda p: p.write_bytes(
        _header() + np.random.default_rng(0).bytes(19200))),
    "no samples": ("x.wav", "left out", lambda p: _wav(p, np.zeros(0, np.float32))),
    # Statistics of log-mel frames, the default encoder, pad what is shorter than a window.
    "one sample": ("x.wav", "clean", lambda p: _wav(p, np.ones(1, np.float32))),
    "NaN": ("x.wav", "left out", lambda p: _wav(p, np.full(9600, np.nan, np.float32),
                                               subtype="FLOAT")),
    "infinity": ("x.wav", "left out", lambda p: _wav(p, np.full(9600, np.inf, np.float32),
                                                    subtype="FLOAT")),
    "silence": ("x.wav", "read", lambda p: _wav(p, np.zeros(9600, np.float32))),
    "flac cut off": ("x.flac", "left out", _bytes(_middle_cut(_encoded("flac")))),
    "flac with flipped bytes": ("x.flac", "left out", lambda p: p.write_bytes(
        bytes(b ^ (0xFF if i > 500 and i % 97 == 0 else 0) for i, b in enumerate(_encoded("flac")))
    )),
    "ogg cut off": ("x.ogg", "clean", _bytes(_middle_cut(_encoded("ogg")))),
    "ogg header only": ("x.ogg", "left out", _bytes(_encoded("ogg")[:60])),
    "mp3 of noise": ("x.mp3", "left out", lambda p: p.write_bytes(
        np.random.default_rng(0).bytes(5000))),
    "mp3 cut off": ("x.mp3", "clean", _bytes(_middle_cut(_encoded("mp3")))),
    "joined mp3": ("x.mp3", "clean", _bytes(_encoded("mp3") + _encoded("mp3"))),
    "folder named like a file": ("x.wav", "clean", lambda p: p.mkdir()),
    "link to nowhere": ("x.wav", "clean", lambda p: p.symlink_to("nowhere.wav")),
    "link to itself": ("x.wav", "clean", lambda p: p.symlink_to("x.wav")),
    "link to the parent folder": ("x", "clean", lambda p: p.symlink_to("..")),
    "link to /dev/zero": ("x.wav", "clean", lambda p: p.symlink_to("/dev/zero")),
    "pipe that nobody writes to": ("x.wav", "clean", lambda p: os.mkfifo(p)),
    "name ends in |": ("touch executed|", "clean", _wav_as),
    "name is a command": ("x;touch executed;echo |", "clean", _wav_as),
    "name with a command in quotes": ("$(touch executed).wav", "read", _wav_as),
    "name of two lines": ("a\nb.wav", "read", _wav_as),
    "name that is no UTF-8": (os.fsdecode(b"caf\xe9.wav"), "clean", _wav_as),
    "name with a pattern's signs": ("a[1]*?.wav", "read", _wav_as),
    "name of 250 bytes": ("a" * 246 + ".wav", "read", _wav_as),
    "name like an option": ("--encoder.wav", "clean", _wav_as),
}  # fmt: skip


def _audio() -> list[Kind]:
    found = []
    for name, (file, expected, write) in AUDIO.items():
        for door in ("embed", "describe", "prepare.folder"):
            # Headers are all that describe reads.
            here: Expected = "clean" if door == "describe" and expected == "left out" else expected
            found.append(Kind(door, f"audio: {name}", here, _beside_good(door, file, write)))
    return found


def _beside_good(door: str, file: str, write: Callable[[Path], None]) -> Callable[[Case], Words]:
    def make(case: Case) -> Words:
        folder = case.folder / "audio"
        folder.mkdir()
        _wav(folder / "good.wav")
        write(folder / file)
        if door == "embed":
            return "audiossl", ["embed", "audio/good.wav", str(folder / file), *CPU]
        if door == "describe":
            return "audiossl", ["describe", "audio"]
        return _prepare("folder", "--folder", "audio", "--max_skipped", "0.9")

    return make


def _prepare(way: str, *words: str) -> Words:
    return f"recipes.prepare.{way}", [*words, "--output", "out", "--resources.device", "cpu"]


# Tables of labels.

TABLES: dict[str, tuple[bytes, Expected]] = {
    "empty": (b"", "refused"),
    "header only": (b"path,kind\n", "clean"),
    "no column path": (b"file,kind\na.wav,x\n", "refused"),
    "two columns of one name": (b"path,kind,kind\na.wav,x,y\n", "refused"),
    "a row of commas": (b"path,kind\na.wav,x\n,\n", "clean"),
    "a column more in a row": (b"path,kind\na.wav,x,y,z\n", "refused"),
    "a column less in a row": (b"path,kind,more\na.wav\n", "clean"),
    "Latin-1": (b"path,kind\na.wav,caf\xe9\n", "clean"),
    "UTF-16": ("path,kind\na.wav,x\n".encode("utf-16"), "clean"),
    "NUL bytes": (b"path,kind\na.wav,\0x\n", "clean"),
    "a byte order mark": (b"\xef\xbb\xbfpath,kind\na.wav,x\n", "read"),
    "an open quote": (b'path,kind\na.wav,"x\n', "clean"),
    "a field of 200 kB": (b"path,kind\na.wav," + b"x" * 200_000 + b"\n", "clean"),
    "a path outside": (b"path,kind\n../../../etc/passwd,x\n", "clean"),
    "an absolute path": (b"path,kind\n/etc/passwd,x\n", "clean"),
    "a file that is not there": (b"path,kind\nnowhere.wav,x\n", "clean"),
    "a file twice": (b"path,kind\na.wav,x\na.wav,y\n", "clean"),
    "a file under two spellings": (b"path,kind\na.wav,x\n./a.wav,x\n", "clean"),
    "a command as path": (b"path,kind\ntouch executed |,x\n", "clean"),
    "a column duration": (b"path,duration\na.wav,-5\n", "clean"),
    "a column id": (b"path,id\na.wav,../../x\n", "clean"),
    "columns of the corpus": (b"path,start,recording,custom\na.wav,x,y,z\n", "clean"),
    "random bytes": (np.random.default_rng(1).bytes(3000), "refused"),
    "only carriage returns": (b"path,kind\ra.wav,x\r", "clean"),
}


def _tables() -> list[Kind]:
    def kind(content: bytes) -> Callable[[Case], Words]:
        def make(case: Case) -> Words:
            (case.folder / "audio").mkdir()
            _wav(case.folder / "audio" / "a.wav")
            (case.folder / "labels.csv").write_bytes(content)
            words = ["--folder", "audio", "--labels", "[labels.csv]", "--max_skipped", "0.9"]
            return _prepare("folder", *words)

        return make

    return [
        Kind("prepare.folder", f"labels: {name}", expected, kind(content))
        for name, (content, expected) in TABLES.items()
    ]


# Lists of trials.

TRIALS: dict[str, bytes] = {
    "empty": b"",
    "two words": b"1 a\n",
    "a name that is not there": b"1 a b\n0 a c\n",
    "a kind that is none": b"yes a b\n",
    "no UTF-8": b"1 caf\xe9 b\n",
    "random bytes": np.random.default_rng(0).bytes(5000),
    "one line of a million letters": b"1 " + b"x" * 1_000_000,
}


def _trials() -> list[Kind]:
    def kind(content: bytes) -> Callable[[Case], Words]:
        def make(case: Case) -> Words:
            (case.folder / "trials.txt").write_bytes(content)
            words = [
                "--cuts", f"{case.world}/cuts", "--encoders", "{mel: 'log_mel:8'}",
                "--train", "{label: kind, where: {split: [train]}}", "--trials", "trials.txt",
                "--plan.batch_size", "4", "--loop.steps", "1", "--output", "out",
                "--resources.device", "cpu",
            ]  # fmt: skip
            return "recipes.probe.verification", words

        return make

    return [
        Kind("probe.verification", f"trials: {name}", "refused", kind(content))
        for name, content in TRIALS.items()
    ]


# Tasks of benchmarks.

HEAR: dict[str, tuple[str, bytes | None]] = {
    "a missing split": ("valid.json", None),
    "no metadata": ("task_metadata.json", None),
    "metadata of another kind": ("task_metadata.json", b'{"task_name": 3}'),
    "labels cut off": ("train.json", b'{"bell-0-0.wav": ["bel'),
    "labels that are numbers": ("train.json", b'{"bell-0-0.wav": 3}'),
    "a split that leads away": ("task_metadata.json", b'{"task_name": "x", "version": "1", '
     b'"embedding_type": "scene", "prediction_type": "multiclass", "split_mode": "x", '
     b'"evaluation": ["top1_acc"], "splits": ["../../etc/passwd"]}'),
}  # fmt: skip
TARS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 3],
    "text": lambda content: b"no tar\n" * 200,
    "labels that are no JSON": lambda content: content.replace(b'{"label"', b'["label"'),
}


def _benchmarks() -> list[Kind]:
    def hear(file: str, content: bytes | None) -> Callable[[Case], Words]:
        def make(case: Case) -> Words:
            write_hear_task(case.folder / "toy", splits=("train", "valid", "test"), each=1)
            path = case.folder / "toy" / file
            path.unlink() if content is None else path.write_bytes(content)
            return _prepare("hear", "--folder", "toy")

        return make

    def tar(spoil: Callable[[bytes], bytes]) -> Callable[[Case], Words]:
        def make(case: Case) -> Words:
            write_tars(case.folder / "tars", {"train": 1}, each=1)
            (path,) = (case.folder / "tars").glob("*.tar")
            path.write_bytes(spoil(path.read_bytes()))
            return _prepare("tars", "--folder", "tars", "--splits", "{train: 'train*'}")

        return make

    found = [Kind("prepare.hear", name, "refused", hear(*spoilt)) for name, spoilt in HEAR.items()]
    return found + [Kind("prepare.tars", name, "refused", tar(s)) for name, s in TARS.items()]


# Kaldi.

KALDI: dict[str, tuple[dict[str, bytes], Expected]] = {
    "no wav.scp": ({"wav.scp": b"", "text": b"a x\n"}, "refused"),
    "a wav.scp of white space": ({"wav.scp": b" \n\n"}, "refused"),
    "a line of one word": ({"wav.scp": b"a\n"}, "clean"),
    "a missing file": ({"wav.scp": b"a nowhere.wav\nb good.wav\n"}, "clean"),
    "a command": ({"wav.scp": b"a touch executed |\nb good.wav\n"}, "clean"),
    "a command that waits for input": ({"wav.scp": b"a cat |\nb good.wav\n"}, "clean"),
    "a file of commands": ({"wav.scp": b"a touch executed; cat good.wav |\n"}, "clean"),
    "an id twice": ({"wav.scp": b"a good.wav\na good.wav\n"}, "refused"),
    "an id with slashes": ({"wav.scp": b"../../a good.wav\n"}, "clean"),
    "no UTF-8": ({"wav.scp": b"caf\xe9 good.wav\n"}, "refused"),
    "NUL bytes": ({"wav.scp": b"a\0b good.wav\n"}, "clean"),
    "an ark": ({"wav.scp": b"a good.ark:123\n"}, "clean"),
    "segments of nothing": ({"segments": b"u z 0 1\n"}, "refused"),
    "segments reversed": ({"segments": b"u a 0.5 0.1\n"}, "refused"),
    "segments negative": ({"segments": b"u a -1 0.5\n"}, "refused"),
    "segments NaN": ({"segments": b"u a nan 0.5\n"}, "refused"),
    "segments beyond the end": ({"segments": b"u a 0 99\nv a 0 0.5\n"}, "clean"),
    "segments of words": ({"segments": b"u a zero one\n"}, "refused"),
    "segments of three columns": ({"segments": b"u a 0\n"}, "refused"),
    "text of nobody": ({"text": b"z hello\n"}, "clean"),
    "text without words": ({"text": b"a\n"}, "clean"),
    "text with line separators": ({"text": "a x\u2028y\u0085z\x0bw\n".encode()}, "read"),
    "speakers of nobody": ({"utt2spk": b"z s\n"}, "clean"),
    "turns of nobody": ({"rttm": b"SPEAKER z 1 0 1 <NA> <NA> s <NA> <NA>\n"}, "clean"),
    "turns of words": ({"rttm": b"SPEAKER a 1 zero one <NA> <NA> s <NA> <NA>\n"}, "refused"),
    "turns reversed": ({"rttm": b"SPEAKER a 1 1 -1 <NA> <NA> s <NA> <NA>\n"}, "refused"),
    "turns of no speaker": ({"rttm": b"SPEAKER a 1 0 1\n"}, "refused"),
    "turns of a name with a bar": ({"rttm": b"SPEAKER a 1 0 1 <NA> <NA> s|t <NA>\n"}, "refused"),
}  # fmt: skip


def _kaldi() -> list[Kind]:
    def kind(files: dict[str, bytes]) -> Callable[[Case], Words]:
        def make(case: Case) -> Words:
            _wav(case.folder / "good.wav")
            (case.folder / "data").mkdir()
            for file, content in ({"wav.scp": b"a good.wav\n"} | files).items():
                if content:
                    (case.folder / "data" / file).write_bytes(content)
            return _prepare("kaldi", "--folder", "data", "--max_skipped", "0.9")

        return make

    return [
        Kind("prepare.kaldi", f"Kaldi: {name}", expected, kind(files))
        for name, (files, expected) in KALDI.items()
    ]


# lhotse.

RECORDING = {
    "id": "a", "sources": [{"type": "file", "channels": [0], "source": "good.wav"}],
    "sampling_rate": RATE, "num_samples": 9600, "duration": 0.6, "channel_ids": [0],
}  # fmt: skip
CUT = {
    "id": "a", "start": 0.0, "duration": 0.6, "channel": 0, "supervisions": [], "type": "MonoCut",
    "recording": RECORDING,
}  # fmt: skip


def _line(base: dict, **changes: object) -> bytes:
    return json.dumps({**base, **changes}).encode() + b"\n"


def _source(kind: str, source: str) -> bytes:
    return _line(RECORDING, sources=[{"type": kind, "channels": [0], "source": source}])


LHOTSE: dict[str, tuple[str, bytes, Expected]] = {
    "empty": ("m.jsonl", b"", "refused"),
    "no gzip": ("m.jsonl.gz", _line(CUT), "read"),
    "gzip cut off": ("m.jsonl.gz", gzip.compress(_line(CUT) * 99)[:60], "refused"),
    "no JSON": ("m.jsonl", b"{half\n", "refused"),
    "a list": ("m.jsonl", b"[1, 2]\n", "refused"),
    "a number": ("m.jsonl", b"3\n", "refused"),
    "an object of nothing": ("m.jsonl", b"{}\n", "refused"),
    "deep JSON": ("m.jsonl", b"[" * 100_000 + b"\n", "refused"),
    "random bytes": ("m.jsonl", np.random.default_rng(2).bytes(500), "refused"),
    "a cut without recording": ("m.jsonl", _line({k: v for k, v in CUT.items() if k != "recording"}
                                                 ) + _line(CUT, id="b"), "clean"),
    "a start below 0": ("m.jsonl", _line(CUT, start=-1.0), "clean"),
    "a start of words": ("m.jsonl", _line(CUT, start="zero"), "clean"),
    "a duration beyond the end": ("m.jsonl", _line(CUT, duration=99.0), "clean"),
    "a duration of NaN": ("m.jsonl", _line(CUT, duration=float("nan")), "clean"),
    "a duration of null": ("m.jsonl", _line(CUT, duration=None), "clean"),
    "a channel that is not there": ("m.jsonl", _line(CUT, channel=7), "clean"),
    "an id twice": ("m.jsonl", _line(CUT) * 2, "left out"),
    "an id that is a number": ("m.jsonl", _line(CUT, id=3), "clean"),
    "a command as source": ("m.jsonl", _source("command", "touch executed"), "clean"),
    "a URL as source": ("m.jsonl", _source("url", "http://127.0.0.1:9/x.wav"), "clean"),
    "a source of no kind": ("m.jsonl", _source("nothing", "x"), "clean"),
    "a missing file": ("m.jsonl", _source("file", "nowhere.wav"), "clean"),
    "supervisions alone": ("m.jsonl", _line({"id": "s", "recording_id": "a", "start": 0,
                                             "duration": 1, "channel": 0}), "refused"),
    "YAML with code": ("m.yaml", b"!!python/object/apply:os.system [touch executed]", "refused"),
}  # fmt: skip


def _lhotse() -> list[Kind]:
    def kind(file: str, content: bytes) -> Callable[[Case], Words]:
        def make(case: Case) -> Words:
            _wav(case.folder / "good.wav")
            (case.folder / file).write_bytes(content)
            return _prepare("lhotse", "--manifest", file, "--max_skipped", "0.9")

        return make

    found = [
        Kind("prepare.lhotse", f"lhotse: {name}", expected, kind(file, content))
        for name, (file, content, expected) in LHOTSE.items()
    ]
    return found + [
        Kind("prepare.lhotse", f"Shar: {name}", "clean", _shar(change))
        for name, change in SHAR.items()
    ]


def _shar(change: Callable[[Path, Path], None]) -> Callable[[Case], Words]:
    def make(case: Case) -> Words:
        shar = case.copy("cuts") / "shar"
        change(*sorted(shar.glob("cuts.*"))[:1], *sorted(shar.glob("recording.*"))[:1])
        words = ["--manifest", str(shar), "--max_skipped", "0.9"]
        return _prepare("lhotse", *words)

    return make


SHAR: dict[str, Callable[[Path, Path], None]] = {
    "cuts cut off": lambda cuts, tar: _cut_off(cuts),
    "sound cut off": lambda cuts, tar: _cut_off(tar),
    "no sound": lambda cuts, tar: tar.unlink(),
    "sound of another shard": lambda cuts, tar: shutil.copy(sorted(tar.parent.glob("recording.*"))
                                                           [1], tar),
    "cuts of other JSON": lambda cuts, tar: cuts.write_bytes(gzip.compress(b"[]\n3\n")),
    "sound is no tar": lambda cuts, tar: tar.write_bytes(b"x" * 5000),
    "left-over of a killed run": lambda cuts, tar: (cuts.parent / ".cuts.000009.jsonl.gz.1.part"
                                                    ).write_bytes(b"half"),
}  # fmt: skip


def _cut_off(path: Path, share: float = 0.5) -> None:
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))


# Settings: files of YAML, and words.

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n"
    for a, b in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)
YAML: dict[str, str | bytes] = {
    "a bomb of aliases": BOMB,
    "an alias of itself": "folder: &a [*a]",
    "100000 brackets": "[" * 100_000,
    "a tag with code": "!!python/object/apply:os.system [touch executed]",
    "a tab": "folder:\t- x\n\ty",
    "a list": "[1, 2]",
    "text": "hello",
    "random bytes": np.random.default_rng(3).bytes(300),
    "another type": "shard_size: {a: 1}",
    "a key that is a number": "3: 4",
    "a key that is a list": "? [a, b]\n: c",
    "a date": "shard_size: 2020-01-01",
    "an unknown setting": "shard_sizes: 3",
    "a setting of null": "shard_size: null",
    "text for a number": "shard_size: many",
    "NaN": "max_skipped: .nan",
    "infinity": "max_duration: .inf",
    "a huge number": "shard_size: 1" + "0" * 400,
    "a boolean for a number": "shard_size: yes",
}
WORDS: dict[str, list[str]] = {
    "shard_size 0": ["--shard_size", "0"],
    "shard_size -1": ["--shard_size", "-1"],
    "shard_size 1.5": ["--shard_size", "1.5"],
    "workers -1": ["--resources.workers", "-1"],
    "max_skipped -1": ["--max_skipped", "-1"],
    "max_skipped 2": ["--max_skipped", "2"],
    "min_duration -1": ["--min_duration", "-1"],
    "max_duration nan": ["--max_duration", "nan"],
    "encoding mp3": ["--encoding", "mp3"],
    "engine of no name": ["--resources.engine", "spark"],
    "device gpu": ["--resources.device", "gpu"],
    "device cuda:99": ["--resources.device", "cuda:99"],
    "device meta": ["--resources.device", "meta"],
    "device of nothing": ["--resources.device", ""],
    "a missing value": ["--shard_size"],
    "no setting": ["hello"],
    "a missing config": ["--config", "nowhere.yaml"],
    "a folder as config": ["--config", "."],
    "a missing folder": ["--folder", "nowhere"],
    "a file as folder": ["--folder", "a.wav"],
    "an output that is a file": ["--output", "a.wav"],
    "an output below a file": ["--output", "a.wav/x"],
    "labels of no file": ["--labels", "[nowhere.csv]"],
    "labels that are a folder": ["--labels", "[.]"],
    "brackets without end": ["--labels", "[" * 5000],
    "no tasks": ["--folder", "x", "--tasks", "[]"],
}


def _settings() -> list[Kind]:
    def kind(content: str | bytes | None, words: list[str]) -> Callable[[Case], Words]:
        def make(case: Case) -> Words:
            _wav(case.folder / "a.wav")
            given = words
            if content is not None:
                text = content.encode() if isinstance(content, str) else content
                (case.folder / "conf.yaml").write_bytes(text)
                given = ["--config", "conf.yaml"]
            program, fixed = _prepare("folder", "--folder", ".")
            return program, [*fixed, *given]

        return make

    return [
        *(Kind("settings", f"YAML: {n}", "refused", kind(text, [])) for n, text in YAML.items()),
        *(Kind("settings", f"words: {n}", "refused", kind(None, w)) for n, w in WORDS.items()),
    ]


# Options of `audiossl`.

OPTIONS: dict[str, tuple[list[str], Expected]] = {
    "no command": ([], "refused"),
    "unknown command": (["embd"], "refused"),
    "no files": (["embed"], "refused"),
    "a missing file": (["embed", "nowhere.wav"], "refused"),
    "a pattern of nothing": (["embed", "*.xyz"], "refused"),
    "chunk nan": (["embed", "a.wav", "--chunk", "nan"], "refused"),
    "chunk inf": (["embed", "a.wav", "--chunk", "inf"], "refused"),
    "chunk -1": (["embed", "a.wav", "--chunk", "-1"], "refused"),
    "chunk 0": (["embed", "a.wav", "--chunk", "0"], "refused"),
    "chunk of words": (["embed", "a.wav", "--chunk", "many"], "refused"),
    "device gpu": (["embed", "a.wav", "--device", "gpu"], "refused"),
    "device cuda:99": (["embed", "a.wav", "--device", "cuda:99"], "refused"),
    "device meta": (["embed", "a.wav", "--device", "meta"], "refused"),
    "output of no kind": (["embed", "a.wav", "--output", "x.txt"], "refused"),
    "output in no folder": (["embed", "a.wav", "--output", "no/x.npz"], "refused"),
    "output is a folder": (["embed", "a.wav", "--output", "d.npz"], "refused"),
    "output below a file": (["embed", "a.wav", "--output", "a.wav/x.npz"], "refused"),
    "frames as npy": (["embed", "a.wav", "--frames", "--output", "x.npy"], "refused"),
    "describe nothing": (["describe", "nowhere"], "refused"),
    "describe an empty folder": (["describe", "d.npz"], "clean"),
    "retrieve nothing": (
        ["retrieve", "nowhere", "--labels", "nowhere.csv", "--label", "kind"], "refused"),
    "compare nothing": (["compare", "nowhere"], "refused"),
    "compare one": (["compare", "WORLD/fitted", "--encoder", "cola"], "clean"),
    "replicates 0": (["compare", "WORLD/fitted", "--replicates", "0"], "refused"),
    "replicates -3": (["compare", "WORLD/fitted", "--replicates", "-3"], "refused"),
    "unknown metric": (["compare", "WORLD/fitted", "--metric", "speed"], "refused"),
    "unknown task": (["compare", "WORLD/fitted", "--task", "nothing"], "refused"),
    "report of nothing": (["report", "nowhere", "--output", "x"], "refused"),
    "report of embeddings": (["report", "WORLD/embeddings", "--output", "x"], "refused"),
    "report of cuts": (["report", "WORLD/cuts", "--output", "x"], "refused"),
    "report of a run": (["report", "WORLD/cola", "--output", "x"], "refused"),
    "report into a file": (["report", "WORLD/fitted", "--output", "a.wav"], "refused"),
    "report with a run that climbs": (
        ["report", "WORLD/fitted", "--run", "../../x=WORLD/cola", "--output", "x"], "refused"),
    "report with a run of nothing": (
        ["report", "WORLD/fitted", "--run", "x=nowhere", "--output", "x"], "refused"),
    "pairs of embeddings": (
        ["report", "WORLD/embeddings", "--pairs", "--output", "x.html"], "refused"),
    "pairs, batches 0": (
        ["report", "WORLD/cola", "--pairs", "--batches", "0", "--output", "x.html"], "refused"),
    "pairs, most -1": (
        ["report", "WORLD/cola", "--pairs", "--most", "-1", "--output", "x.html"], "refused"),
    "export of no Zipformer": (["export", "WORLD/cola", "x.pt"], "refused"),
    "export over a file": (["export", "WORLD/spear", "a.wav"], "refused"),
    "export of nothing": (["export", "nowhere", "x.pt"], "refused"),
    "export as float8": (["export", "WORLD/spear", "x.pt", "--dtype", "float8"], "refused"),
    "export to no form": (["export", "WORLD/cola", "x", "--to", "onx"], "refused"),
    "export to nobody's form": (["export", "WORLD/cola", "x", "--to", "python:no:no"], "refused"),
    "features of no clips": (["export", "WORLD/cola", "x", "--to", "features"], "refused"),
    "features of missing clips": (
        ["export", "WORLD/cola", "x", "--to", "features", "--clips", "nowhere.wav"], "refused"),
    "clips of no features": (
        ["export", "WORLD/cola", "x", "--to", "hear", "--clips", "a.wav"], "refused"),
    "dtype of no form's": (
        ["export", "WORLD/cola", "x", "--to", "hear", "--dtype", "float16"], "refused"),
    "export below a file": (["export", "WORLD/spear", "a.wav/x.pt"], "refused"),
    "import of nothing": (["import", "spear:nowhere", "x"], "refused"),
    "import over an encoder": (["import", "WORLD/spear", "WORLD/spear"], "refused"),
    "check of nothing": (["check", "nowhere"], "refused"),
    "tokenize by nothing": (["tokenize", "a.wav", "--quantizer", "nowhere"], "refused"),
    "tokenize nothing": (["tokenize", "b.wav", "--quantizer", "WORLD/quantizer"], "refused"),
    "tokenize by another encoder": (
        ["tokenize", "a.wav", "--quantizer", "WORLD/quantizer", "--encoder", "log_mel:3"],
        "refused"),
    "tokenize to no kind": (
        ["tokenize", "a.wav", "--quantizer", "WORLD/quantizer", "--output", "x.doc"], "refused"),
    "tokenize with alignments of nothing": (
        ["tokenize", "a.wav", "--quantizer", "WORLD/quantizer", "--alignments", "nowhere"],
        "refused"),
}  # fmt: skip


def _options() -> list[Kind]:
    def kind(words: list[str]) -> Callable[[Case], Words]:
        def make(case: Case) -> Words:
            _wav(case.folder / "a.wav")
            (case.folder / "d.npz").mkdir()
            return "audiossl", [word.replace("WORLD", str(case.world)) for word in words]

        return make

    return [
        Kind(f"audiossl {words[0] if words else ''}".strip(), f"words: {name}", expected,
             kind(words))
        for name, (words, expected) in OPTIONS.items()
    ]  # fmt: skip


# Folders of stages, spoilt.

JSONS: dict[str, bytes] = {
    "empty": b"", "null": b"null", "a list": b"[]", "an object of nothing": b"{}",
    "text": b'"x"', "cut off": b'{"cuts": "ab', "100000 brackets": b"[" * 100_000,
    "no UTF-8": b'{"cuts": "\xff"}', "other types": b'{"cuts": 3, "fields": 4, "num_shards": "x", '
    b'"encoding": [], "stage": 1, "finished": 2, "identity": 3, "inputs": 4, "format": "x", '
    b'"encoder": 5, "encoders": 6, "tasks": 7, "shards": 8, "bootstrap": 9, "results": 1}',
}  # fmt: skip
READERS: dict[str, tuple[str, ...]] = {
    "cuts/corpus.json": ("embeddings", "cola"),
    "cuts/stage.json": ("cola",),
    "cuts/receipts/000000.json": ("cola",),
    "cola/config.json": ("embeddings",),
    "cola/stage.json": ("embeddings",),
    "embeddings/embeddings.json": ("fitted",),
    "fitted/scores.json": ("report",),
    "fitted/stage.json": ("report",),
    "codes/corpus.json": ("spear",),
    "pairs/pairs.json": ("matching",),
    "targets/targets.json": ("distilled",),
    "matching/config.json": ("evaluated",),
    "sample/stage.json": ("quantizer",),
    "quantizer/stage.json": ("codes",),
}
"""A file of JSON, and stages that read it."""


def _folders() -> list[Kind]:
    found = []
    for file, stages in READERS.items():
        for name, content in JSONS.items():
            for stage in stages:
                harmless = file.endswith("receipts/000000.json")
                expected: Expected = "clean" if harmless else "refused"
                make = _spoilt(stage, file, lambda path, content=content: path.write_bytes(content))
                found.append(Kind(stage, f"{file.split('/', 1)[1]}: {name}", expected, make))
    for name, (stage, file, change) in SPOILT.items():
        found.append(Kind(stage, f"damage: {name}", "refused", _spoilt(stage, file, change)))
    return found


def _spoilt(stage: str, file: str, change: Callable[[Path], None]) -> Callable[[Case], Words]:
    """Spoil a file of an input of a stage, in a copy, and run the stage."""
    from tests.trust.world import COMMANDS

    def make(case: Case) -> Words:
        folder, _, inside = file.partition("/")
        (path,) = sorted(case.copy(folder).glob(inside))[:1]
        change(path)
        command = COMMANDS[stage]
        words = []
        for word in command.words:
            changed = word.replace("{out}", "out").replace(f"{{here}}/{folder}", folder)
            words.append(changed.replace("{here}", str(case.world)))
        return command.program, words

    return make


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def _npy(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=True)


SHARD = "cuts/shar/recording.000000.tar"
SPOILT: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "a shard cut off": ("cola", SHARD, _cut_off),
    "a shard cut off, embed": ("embeddings", SHARD, _cut_off),
    "an empty shard": ("cola", SHARD, lambda p: p.write_bytes(b"")),
    "no shard": ("cola", SHARD, lambda p: p.unlink()),
    "a column cut off": ("cola", "cuts/columns/recording/offset.npy", _cut_off),
    "an empty column": ("cola", "cuts/columns/cuts/id.npy", lambda p: p.write_bytes(b"")),
    "a column of zeros": ("cola", "cuts/columns/cuts/num_samples.npy",
                          lambda p: p.write_bytes(bytes(300))),
    "a column of another type": ("cola", "cuts/columns/cuts/num_samples.npy",
                                 lambda p: _npy(p, np.array(["x"] * 32))),
    "a column of objects": ("cola", "cuts/columns/cuts/num_samples.npy",
                            lambda p: _npy(p, np.array([Bomb()] * 32, object))),
    "a column too short": ("cola", "cuts/columns/recording/offset.npy",
                           lambda p: _npy(p, np.zeros(3, np.int64))),
    "a missing column": ("cola", "cuts/columns/recording/offset.npy", lambda p: p.unlink()),
    "a list of cuts cut off": ("fitted", "cuts/shar/cuts.000000.jsonl.gz", _cut_off),
    "a list of cuts of other JSON": ("fitted", "cuts/shar/cuts.000000.jsonl.gz",
                                     lambda p: p.write_bytes(gzip.compress(b"[]\n"))),
    "embeddings cut off": ("fitted", "embeddings/cola/000000.safetensors", _cut_off),
    "no embeddings": ("fitted", "embeddings/cola/000000.safetensors", lambda p: p.unlink()),
    "weights cut off": ("embeddings", "cola/encoder.safetensors", _cut_off),
    "weights with a flipped bit": ("embeddings", "cola/encoder.safetensors", _flipped),
    "no weights": ("embeddings", "cola/encoder.safetensors", lambda p: p.unlink()),
    "a quantizer with a flipped bit": ("codes", "quantizer/quantizer.safetensors", _flipped),
    "a quantizer cut off": ("codes", "quantizer/quantizer.safetensors", _cut_off),
    "a sample cut off": ("quantizer", "sample/frames.npy", _cut_off),
    "a sample of objects": ("quantizer", "sample/frames.npy",
                            lambda p: _npy(p, np.array([Bomb()] * 9, object))),
    "a sample of NaN": ("quantizer", "sample/frames.npy",
                        lambda p: _npy(p, np.full((99, 20), np.nan, np.float16))),
    "a sample of one dimension": ("quantizer", "sample/frames.npy",
                                  lambda p: _npy(p, np.zeros(99, np.float16))),
    "codes cut off": ("spear", "codes/shar/speech.000000.tar", _cut_off),
    "no codes": ("spear", "codes/shar/speech.000000.tar", lambda p: p.unlink()),
    "no list of pairs": ("matching", "pairs/pairs.jsonl", lambda p: p.unlink()),
    "a list of pairs cut off": ("matching", "pairs/pairs.jsonl", _cut_off),
    "targets cut off": ("distilled", "targets/columns/targets/frames.npy", _cut_off),
    "no targets": ("distilled", "targets/columns/targets/frames.npy", lambda p: p.unlink()),
    "too few targets": ("distilled", "targets/columns/targets/frames.npy",
                        lambda p: _npy(p, np.zeros((3, 20), np.float16))),
    "targets of another dimension": ("distilled", "targets/columns/targets/frames.npy",
                                     lambda p: _npy(p, np.zeros((2000, 7), np.float16))),
    "targets of objects": ("distilled", "targets/columns/targets/frames.npy",
                           lambda p: _npy(p, np.array([Bomb()] * 9, object))),
    "excerpts beyond a corpus": ("distilled", "targets/columns/targets/cut.npy",
                                 lambda p: _npy(p, np.full(24, 10**6))),
    "too few excerpts": ("distilled", "targets/columns/targets/start.npy",
                         lambda p: _npy(p, np.zeros(2, np.int64))),
    "stems cut off": ("privileged", "stems/shar/low.000000.tar", _cut_off),
    "the weights of a run to evaluate cut off": ("evaluated", "matching/code_matching.safetensors",
                                                 _cut_off),
    "the weights of a run to evaluate with a flipped bit": (
        "evaluated", "matching/code_matching.safetensors", _flipped),
}  # fmt: skip


class Bomb:
    """Code in a pickle."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.system, ("touch executed",)


# Encoders and quantizers, by name.

SOURCES: dict[str, tuple[str, Expected]] = {
    "kind alone": ("hf:", "refused"),
    "no kind": ("nothing:x", "refused"),
    "a folder without an encoder": ("WORLD/audio", "refused"),
    "random of a word": ("random:WORLD/cola#abc", "refused"),
    "random of nothing": ("random:", "refused"),
    "random of a negative seed": ("random:WORLD/cola#-1", "clean"),
    "shuffled of nothing": ("shuffled:", "refused"),
    "python of nothing": ("python:", "refused"),
    "python of two colons": ("python::", "refused"),
    "python of a function": ("python:os:system", "refused"),
    "python of a command": ("python:os:system('touch executed')", "refused"),
    "python of no module": ("python:nowhere.at.all:X", "refused"),
    "log_mel of 0": ("log_mel:0", "refused"),
    "log_mel of -1": ("log_mel:-1", "refused"),
    "log_mel of words": ("log_mel:many", "refused"),
    "log_mel of a million": ("log_mel:1000000", "refused"),
    "mfcc of 0": ("mfcc:0", "refused"),
    "spear of nothing": ("spear:", "refused"),
    "spear of a folder": ("spear:WORLD/audio", "refused"),
    "torchaudio of nothing": ("torchaudio:", "refused"),
    "dasheng of nothing": ("dasheng:", "refused"),
    "ge2e of nothing": ("ge2e:nowhere.pt", "refused"),
    "aisfx of nothing": ("aisfx:nowhere", "refused"),
    "pocketsphinx of nothing": ("pocketsphinx:nowhere", "refused"),
    "hf of a folder without a model": ("hf:WORLD/audio", "refused"),
    "hf of a name that is not there": ("hf:nobody/nothing", "refused"),
    "hf with an unknown option": ("hf:WORLD/audio?speed=2", "refused"),
    "fairseq of nothing": ("fairseq:nowhere.pt", "refused"),
    "beats of nothing": ("beats:nowhere.pt", "refused"),
    "eat of a folder without weights": ("eat:WORLD/audio", "refused"),
    "m2d of nothing": ("m2d:", "refused"),
    "onnx of a sound": ("onnx:a.wav", "refused"),
    "a layer of words": ("hf:WORLD/audio#abc", "refused"),
    "a NUL byte": ("x\0y", "refused"),
    "a name of 5000 letters": ("x" * 5000, "refused"),
    "no UTF-8": (os.fsdecode(b"caf\xe9"), "refused"),
}


def _sources() -> list[Kind]:
    def named(source: str) -> Callable[[Case], Words]:
        def make(case: Case) -> Words:
            _wav(case.folder / "a.wav")
            source_ = source.replace("WORLD", str(case.world))
            return "audiossl", ["embed", "a.wav", "--encoder", source_, *CPU]

        return make

    def weights(kind: str, write: Callable[[Path], None], suffix: str) -> Callable[[Case], Words]:
        def make(case: Case) -> Words:
            _wav(case.folder / "a.wav")
            write(case.folder / f"x{suffix}")
            return "audiossl", ["embed", "a.wav", "--encoder", f"{kind}:x{suffix}", *CPU]

        return make

    return [
        *(Kind("load_encoder", f"name: {n}", e, named(s)) for n, (s, e) in SOURCES.items()),
        *(
            Kind("load_encoder", f"weights: {n}", "refused", weights("spear", write, suffix))
            for n, (suffix, write) in WEIGHTS.items()
        ),
        *(
            Kind("load_encoder", f"{k}: {n}", "refused", weights(k, WEIGHTS[n][1], ".pt"))
            for k in ("fairseq", "beats", "eat", "m2d", "dasheng")
            for n in HOSTILE
        ),
    ]


def _zip(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("../../executed")
        archive.addfile(info, io.BytesIO(b""))


def _torch(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def _safetensors(header: bytes, size: int | None = None) -> Callable[[Path], None]:
    length = len(header) if size is None else size
    return lambda path: path.write_bytes(length.to_bytes(8, "little") + header)


TENSOR = "encoder.encoders.0.layers.0.x"
WEIGHTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "empty .pt": (".pt", _bytes(b"")),
    "text": (".pt", _bytes(b"hello")),
    "random bytes": (".pt", lambda p: p.write_bytes(np.random.default_rng(4).bytes(999))),
    "a pickle with code": (".pt", lambda p: p.write_bytes(pickle.dumps(Bomb()))),
    "torch's file with code": (".pt", _torch({"model": Bomb()})),
    "a zip of nothing": (".pt", lambda p: _zip(p)),
    "a zip with other members": (".pt", lambda p: _zip(p, data=b"x")),
    "a zip with a pickle of code": (".pt", lambda p: _zip(p, **{"x/data.pkl": pickle.dumps(Bomb())})
                                    ),
    "a tar that climbs": (".pt", _tar),
    "a file of torch cut off": (".pt", lambda p: (torch.save({"a": torch.zeros(999)}, p),
                                                 _cut_off(p))),
    "a list": (".pt", _torch([1, 2])),
    "a number": (".pt", _torch(3)),
    "a dict of numbers": (".pt", _torch({"model": {"a": 1}})),
    "numbers as names": (".pt", _torch({3: torch.zeros(1)})),
    "tensors of another model": (".pt", _torch({"layer.weight": torch.zeros(3)})),
    "layer numbers of 10 digits": (".pt", _torch(
        {"encoder.encoders.9999999999.layers.0.x": torch.zeros(1)})),
    "a tensor without shape": (".pt", _torch({TENSOR: torch.tensor(1.0)})),
    "a layer alone": (".pt", _torch({TENSOR: torch.zeros(3)})),
    "an empty .safetensors": (".safetensors", _bytes(b"")),
    "a header of 2**60 bytes": (".safetensors", _safetensors(b"{}", 2**60)),
    "a header that is no JSON": (".safetensors", _safetensors(b"{{{{")),
    "a tensor beyond the end": (".safetensors", _safetensors(
        b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}')),
    "tensors of integers": (".safetensors", lambda p: save_file(
        {TENSOR: torch.zeros(3, dtype=torch.int64)}, p)),
}  # fmt: skip


HOSTILE = ("a pickle with code", "torch's file with code", "a zip with a pickle of code", "a list")
"""Of these, what every door for torch files is tried with."""
