"""Decode, render and label what was unpacked: labels.csv, licences.csv and the audio they name.

    python -m egs.debian_packages.local.collect <folder> [jobs]

<folder> is what local/fetch.sh has filled. Run again, it goes on: what is decoded or rendered
stays.
"""

import csv
import hashlib
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from egs.debian_packages.local import music, sounds, speech
from egs.debian_packages.local.clips import Clip
from egs.debian_packages.local.splits import components, deal
from egs.utils.tables import write_table

PACKAGES = Path(__file__).parent / "packages.csv"
_log = logging.getLogger("collect")


def clips(folder: Path, jobs: int) -> Iterator[Clip]:
    """Yield every clip of the corpus, once its audio is there."""
    sources = {
        "speech that is read": speech.reader(folder),
        "speech that is acted": speech.actors(folder),
        "syllables": speech.syllables(folder),
        "taunts": speech.characters(folder),
        "prompts": speech.prompts(folder, jobs),
        "sounds": sounds.files(folder),
        "sounds of Freedoom": sounds.doom_sounds(folder),
        "sounds of OpenSFX": sounds.transport_sounds(folder),
        "songs with a stem": music.songs(folder),
        "recorded music": music.recordings(folder),
        "scores": music.scores(folder, jobs),
    }
    for name, source in sources.items():
        clips = list(source)
        _log.info("%s: %d", name, len(clips))
        yield from clips


def labeled(folder: Path, clips: Sequence[Clip]) -> list[dict[str, str]]:
    """Make the rows of the table: labels, group and split; of equal files only the first."""
    first: dict[str, Clip] = {}
    contents = []
    for clip in clips:
        contents.append(_content(folder / clip.path))
        first.setdefault(contents[-1], clip)
    groups = components(
        [(*clip.keys, content) for clip, content in zip(clips, contents, strict=True)]
    )
    splits = deal(groups, [clip.stratum for clip in clips])
    licences = {row["package"]: row["licence"] for row in _packages()}
    rows = []
    for clip, content, group, split in zip(clips, contents, groups, splits, strict=True):
        if first[content] is clip:
            fixed = {
                "path": clip.path.as_posix(),
                "domain": clip.domain,
                "split": split,
                "group": group,
            }
            origin = {"package": clip.package, "licence": licences[clip.package]}
            rows.append({**fixed, **origin, **clip.labels})
    return rows


def terms_of(folder: Path, rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Say, for each package that is used, licence, credit, version and where its terms are."""
    counts = Counter(row["package"] for row in rows)
    counts["fluid-soundfont-gm"] = sum(row.get("kind") == "rendered" for row in rows)
    result = []
    for row in _packages():
        package = row["package"]
        copyright_file = f"unpacked/{package}/usr/share/doc/{package}/copyright"
        archive = next((folder / "packages").glob(f"{package}_*.deb"), None)
        terms = copyright_file if (folder / copyright_file).exists() else ""
        extra = {"archive": archive.name if archive else "", "terms": terms}
        result.append({**row, **extra, "clips": str(counts[package])})
    return result


def _packages() -> list[dict[str, str]]:
    with PACKAGES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _content(path: Path) -> str:
    """Hash a file, or the files of a folder."""
    files = sorted(path.glob("*.flac")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.stem.encode() if path.is_dir() else b"")
        digest.update(file.read_bytes())
    # Sorts after every other key, so that groups have readable names.
    return "~" + digest.hexdigest()


def main(folder: Path, jobs: int = 1) -> None:
    """Build the corpus in a folder."""
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%F %T", level="INFO")
    rows = labeled(folder, list(clips(folder, jobs)))
    write_table(folder / "licences.csv", terms_of(folder, rows), empty="")
    write_table(folder / "labels.csv", rows, empty=f"{folder}: local/fetch.sh has put nothing here")
    counts = Counter((row["domain"], row["split"]) for row in rows)
    for (domain, split), count in sorted(counts.items()):
        _log.info("%s, %s: %d", domain, split, count)


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(f"usage: python -m {__spec__.name} <folder> [jobs]")
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
