"""GigaSpeech.json to a manifest of cuts, one a segment, as lhotse reads them.

    python local/gigaspeech.py download/gigaspeech exp/gigaspeech_cuts.jsonl.gz [XL]

Recordings are 16 kHz, in Opus, an hour long and more; a segment names a stretch of one. Segments
without words (<SIL>, <MUSIC>, <NOISE>, <OTHER>) are left out. The file is read at once: 2.5 GB for
all 10 000 hours, which take some 20 GB of memory.
"""

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RATE = 16_000
MARKS = {"<COMMA>": ",", "<PERIOD>": ".", "<QUESTIONMARK>": "?", "<EXCLAMATIONPOINT>": "!"}
GARBAGE = {"<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>"}


def cuts(folder: Path, audio: dict[str, Any], subset: str) -> Iterator[dict[str, Any]]:
    """Describe the segments of a recording that are of a subset and have words."""
    recording = {
        "id": audio["aid"],
        "sources": [{"type": "file", "channels": [0], "source": str(folder / audio["path"])}],
        "sampling_rate": RATE,
        "num_samples": round(audio["duration"] * RATE),
        "duration": round(audio["duration"] * RATE) / RATE,
        "channel_ids": [0],
    }
    for segment in audio["segments"]:
        words = segment["text_tn"].split()
        if f"{{{subset}}}" not in segment["subsets"] or GARBAGE.intersection(words):
            continue
        end = min(segment["end_time"], recording["duration"])
        place = {"start": segment["begin_time"], "duration": round(end - segment["begin_time"], 8)}
        supervision = {
            "id": segment["sid"], "recording_id": audio["aid"], "channel": 0, "start": 0.0,
            "duration": place["duration"], "language": "English", "text": text(words),
        }  # fmt: skip
        yield {
            "id": segment["sid"], **place, "channel": 0, "supervisions": [supervision],
            "recording": recording, "custom": {"source": audio["source"]}, "type": "MonoCut",
        }  # fmt: skip


def text(words: list[str]) -> str:
    """Write marks as they are written: HELLO <COMMA> YOU -> HELLO, YOU."""
    return re.sub(r" ([,.?!])", r"\1", " ".join(MARKS.get(word, word) for word in words))


def main(folder: str, output: str, subset: str = "XL") -> None:
    """Write the manifest."""
    table = Path(folder) / "GigaSpeech.json"
    if not table.exists():
        sys.exit(f"{table} is missing: give the folder that GigaSpeech was unpacked to")
    audios = json.loads(table.read_text(encoding="utf-8"))["audios"]
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(f"{output}.part")
    count = 0
    # Without the time of writing: the same segments are the same file.
    with temporary.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        for audio in audios:
            for cut in cuts(Path(folder).resolve(), audio, subset):
                file.write((json.dumps(cut, ensure_ascii=False) + "\n").encode())
                count += 1
    if not count:
        temporary.unlink()
        sys.exit(f"{table}: no segment is of subset {subset!r}")
    temporary.replace(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
