"""List the corpora of SUPERB: path, split and labels of every recording that a task is of.

    python local/labels.py <task> <folder> exp/<task>/labels.csv

A task is pr, asr, ks, ic, sid, asv, er, sf, sd or qbe; the folder is its corpus as it is published,
unpacked. Splits are SUPERB's, save where README.md says otherwise. Of qbe, counts of what is not
searched are written beside the table, into unsearched.yaml.
"""

import csv
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from audiossl.data.text_units import normalized, read_lexicon
from egs.librispeech.spear.local.labels import rows as librispeech
from egs.utils.tables import write_table

Row = dict[str, str]
PARTS = {"train-clean-100": "train", "dev-clean": "valid", "test-clean": "test"}
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
SILENCE = "_silence_"
EMOTIONS = {"neu": "neu", "hap": "hap", "exc": "hap", "ang": "ang", "sad": "sad"}
SPLITS_OF_VOXCELEB = {"1": "train", "2": "valid", "3": "test"}
SPEAKERS = {
    "train": ("Ivy", "Joanna", "Joey", "Justin", "Kendra", "Kimberly", "Matthew", "Salli"),
    "valid": ("Aditi", "Amy", "Geraint", "Nicole"),
    "test": ("Brian", "Emma", "Raveena", "Russell"),
}
"""Voices of Audio SNIPS by split."""
TRIALS = ("veri_test2.txt", "veri_test.txt")
"""Lists of trials of VoxCeleb1, cleaned and as they were at first: of the same speakers."""
QUERIES = {"dev": "valid", "eval": "test"}
"""Splits of the queries of QUESST 2014."""
LANGUAGE = "nnenglish"
"""The language of QUESST 2014 that SUPERB searches: English of those who learnt it later."""


def phones(folder: Path) -> Iterator[Row]:
    """LibriSpeech with phones of librispeech-lexicon-*.txt, which lie in its folder."""
    lexicon: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("librispeech-lexicon-*.txt")):
        lexicon = read_lexicon(path) | lexicon
    if not lexicon:
        sys.exit(f"{folder}: no librispeech-lexicon-*.txt: PR needs the lexicons of SUPERB")
    for row in texts(folder):
        words = normalized(row["text"]).split()
        if all(word in lexicon for word in words):
            yield {**row, "phones": " ".join(phone for word in words for phone in lexicon[word])}


def texts(folder: Path) -> Iterator[Row]:
    """LibriSpeech: train-clean-100, dev-clean and test-clean."""
    for row in librispeech(folder):
        if row["part"] in PARTS:
            yield {**row, "split": PARTS[row["part"]]}


def keywords(folder: Path) -> Iterator[Row]:
    """Speech Commands 0.01: its two folders; seconds of background noise are written as silence."""
    train = next(folder.glob("speech_commands_v0.01"), folder)
    for path in sorted(train.glob("*/*.wav")):
        word = path.parent.name
        if not word.startswith("_"):
            known = word if word in COMMANDS else "_unknown_"
            place = str(path.relative_to(folder))
            yield {"path": place, "split": split_of(path.name), "keyword": known,
                   "speaker": path.name.partition("_")[0]}  # fmt: skip
    for number, path in enumerate(_silence(train, folder / SILENCE)):
        split = "valid" if number % 10 == 0 else "train"
        yield {"path": str(path.relative_to(folder)), "split": split, "keyword": SILENCE,
               "speaker": path.stem}  # fmt: skip
    for path in sorted(folder.glob("speech_commands_test_set_v0.01/*/*.wav")):
        yield {"path": str(path.relative_to(folder)), "split": "test",
               "keyword": path.parent.name, "speaker": path.name.partition("_")[0]}  # fmt: skip


def split_of(name: str) -> str:
    """Split a recording of Speech Commands as its README does, by the hash of its speaker.

    Those of its own test set, which SUPERB leaves out for that of the archive, are "unused".
    """
    speaker = re.sub(r"_nohash_.*$", "", name)
    number = int(hashlib.sha1(speaker.encode()).hexdigest(), 16)
    share = (number % (2**27)) * 100 / (2**27 - 1)
    return "valid" if share < 10 else "unused" if share < 20 else "train"


def _silence(train: Path, folder: Path) -> Iterator[Path]:
    """Cut the background recordings into seconds."""
    for path in sorted(train.glob("_background_noise_/*.wav")):
        samples, rate = soundfile.read(path, dtype="int16")
        for number in range(len(samples) // rate):
            piece = folder / f"{path.stem}_{number:03d}.wav"
            if not piece.exists():
                folder.mkdir(exist_ok=True)
                second = np.asarray(samples)[number * rate : (number + 1) * rate]
                soundfile.write(piece, second, rate, subtype="PCM_16")
            yield piece


def intents(folder: Path) -> Iterator[Row]:
    """Fluent Speech Commands: data/{train,valid,test}_data.csv."""
    for split in ("train", "valid", "test"):
        with (folder / "data" / f"{split}_data.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                kinds = {name: row[name] for name in ("action", "object", "location")}
                yield {"path": row["path"], "split": split, "speaker": row["speakerId"], **kinds}


def identities(folder: Path) -> Iterator[Row]:
    """VoxCeleb1: veri_test_class.txt names the split of <speaker>/<video>/<number>.wav."""
    places = {"/".join(p.parts[-3:]): p for p in folder.rglob("*.wav")}
    for line in (folder / "veri_test_class.txt").read_text(encoding="utf-8").splitlines():
        number, _, name = line.partition(" ")
        if name in places:
            speaker, video, _ = name.split("/")
            yield {"path": str(places[name].relative_to(folder)), "speaker": speaker,
                   "split": SPLITS_OF_VOXCELEB[number], "video": f"{speaker}/{video}"}  # fmt: skip


def verification(folder: Path) -> Iterator[Row]:
    """VoxCeleb1: speakers of the trials are tested, a thirtieth of the others choose rates."""
    found = [folder / name for name in TRIALS if (folder / name).exists()]
    if not found:
        sys.exit(f"{folder}: none of {', '.join(TRIALS)}: ASV needs the list of its trials")
    lines = [line for path in found for line in path.read_text("utf-8").splitlines()]
    tested = {name for line in lines for name in line.split()[1:]}
    speakers = {name.partition("/")[0] for name in tested}
    places = {"/".join(p.parts[-3:]): p for p in sorted(folder.rglob("*.wav"))}
    others = {name.partition("/")[0] for name in places} - speakers
    held_out = set(sorted(others, key=_by_chance)[: max(2, len(others) // 30)])
    for name, path in places.items():
        speaker, video, _ = name.split("/")
        if speaker not in speakers or name in tested:
            split = "test" if speaker in speakers else "valid" if speaker in held_out else "train"
            yield {"path": str(path.relative_to(folder)), "speaker": speaker, "split": split,
                   "video": f"{speaker}/{video}", "name": name}  # fmt: skip


def _by_chance(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


def emotions(folder: Path) -> Iterator[Row]:
    """IEMOCAP: the emotion of each utterance is in dialog/EmoEvaluation of its session."""
    for path in sorted(folder.glob("Session*/dialog/EmoEvaluation/*.txt")):
        session = path.relative_to(folder).parts[0]
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            found = re.match(r"\[[\d.]+ - [\d.]+\]\t(\S+)\t(\S+)", line)
            if found and found[2] in EMOTIONS:
                name, emotion = found[1], EMOTIONS[found[2]]
                dialog = name.rpartition("_")[0]
                yield {"path": f"{session}/sentences/wav/{dialog}/{name}.wav", "session": session,
                       "speaker": session + name.rpartition("_")[2][0],
                       "emotion": emotion}  # fmt: skip


def slots(folder: Path) -> Iterator[Row]:
    """Audio SNIPS: all.iob.snips.txt, and <split>/<speaker>-snips-<split>-<number>.wav."""
    voices = {voice: split for split, group in SPEAKERS.items() for voice in group}
    for line in (folder / "all.iob.snips.txt").read_text(encoding="utf-8").splitlines():
        name, _, rest = line.strip().partition(" ")
        words, _, marks = rest.partition("\t")
        voice, split = name.split("-")[0], name.split("-")[2]
        path = Path(split) / f"{name}.wav"
        if voices.get(voice) == split and (folder / path).exists():
            text = with_slots(words.split(" ")[1:-1], marks.split(" ")[1:-1])
            yield {"path": str(path), "split": split, "speaker": voice, "text": text}


def with_slots(words: list[str], marks: list[str]) -> str:
    """Write slots around their values: B-city New York E-city."""
    written, open_slot = [], ""
    for word, mark in zip(words, marks, strict=True):
        slot = mark[2:] if mark[:2] in ("B-", "I-") else ""
        if open_slot and (slot != open_slot or mark.startswith("B-")):
            written.append(f"E-{open_slot}")
            open_slot = ""
        if slot and not open_slot:
            written.append(f"B-{slot}")
            open_slot = slot
        written.append(word)
    return " ".join([*written, f"E-{open_slot}"] if open_slot else written)


def turns(folder: Path) -> Iterator[Row]:
    """Libri2Mix as Kaldi folders {train,dev,test} of wav.scp, utt2spk and segments."""
    for part, split in (("train", "train"), ("dev", "valid"), ("test", "test")):
        speakers = dict(_fields(folder / part / "utt2spk"))
        found: dict[str, list[str]] = {}
        for utterance, rest in _fields(folder / part / "segments"):
            recording, begin, end = rest.split()
            turn = f"{float(begin):g}-{float(end):g} {speakers[utterance]}"
            found.setdefault(recording, []).append(turn)
        for recording, place in _fields(folder / part / "wav.scp"):
            path = Path(place)
            here = path.relative_to(folder) if path.is_absolute() else path
            yield {"path": str(here), "split": split, "mixture": recording,
                   "turns": "|".join(found.get(recording, []))}  # fmt: skip


def spoken_queries(folder: Path) -> Iterator[Row]:
    """QUESST 2014: English documents and queries of scoring/*.lst; *.rttm says which hold which."""
    for path in _spoken(folder, "utterances"):
        yield {"path": str(path), "split": "document", "name": path.stem}
    for part, split in QUERIES.items():
        held = _held(folder, part)
        for path in _spoken(folder, part):
            yield {"path": str(path), "split": split, "name": path.stem,
                   "documents": "|".join(sorted(held.get(path.stem, ())))}  # fmt: skip


def unsearched(folder: Path) -> dict[str, int]:
    """Count documents and queries of other languages, the latter if a document holds them."""
    counts = {"documents": len(_listed(folder, "utterances")) - len(_spoken(folder, "utterances"))}
    for part, split in QUERIES.items():
        searched = {path.stem for path in _spoken(folder, part)}
        counts[split] = len(set(_held(folder, part)) - searched)
    return counts


def _listed(folder: Path, part: str) -> list[tuple[Path, str]]:
    """Read the paths of a list, which begin with a folder above ours, and their languages."""
    rows = _fields(folder / "scoring" / f"language_key_{part}.lst")
    return [(Path(name.partition("/")[2]), language) for name, language in rows]


def _spoken(folder: Path, part: str) -> list[Path]:
    return [path for path, language in _listed(folder, part) if language == LANGUAGE]


def _held(folder: Path, part: str) -> dict[str, set[str]]:
    """Read the documents that hold each query: LEXEME <document> ... <query> ..."""
    path = folder / "scoring" / f"groundtruth_quesst14_{part}" / f"quesst14_{part}.rttm"
    found: dict[str, set[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        query = next((word for word in words if re.fullmatch(rf"quesst14_{part}_\d+", word)), "")
        if words[:1] == ["LEXEME"] and query:
            found.setdefault(query, set()).add(words[1])
    return found


def _fields(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(" ")
        yield name, rest.strip()


TASKS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "pr": phones, "asr": texts, "ks": keywords, "ic": intents, "sid": identities, "er": emotions,
    "sf": slots, "sd": turns, "asv": verification, "qbe": spoken_queries,
}  # fmt: skip


def main(task: str, folder: str, output: str) -> None:
    """Write the table."""
    if task not in TASKS:
        sys.exit(f"task {task!r}: give one of {', '.join(TASKS)}")
    try:
        rows = list(TASKS[task](Path(folder)))
    except FileNotFoundError as error:
        sys.exit(f"{error.filename}: missing: is {folder} the corpus of {task}, unpacked?")
    empty = f"{folder}: nothing of {task} in it: is it the corpus, unpacked?"
    write_table(Path(output), rows, empty=empty)
    if task == "qbe":
        counts = ", ".join(f"{name}: {count}" for name, count in unsearched(Path(folder)).items())
        Path(output).with_name("unsearched.yaml").write_text(f"unsearched: {{{counts}}}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
