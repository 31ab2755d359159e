"""Join the tables of the mini corpus into one, with a path, a domain and a group a row.

    python egs/mini/local/labels.py egs/mini/data exp/labels.csv

`group` is what the splits keep together: the prompt, the sound, the score or song; of Mandarin
syllables, whose prompt is only their tone, the syllable. Two names of what may be one speaker
become one, as the corpus' README advises.
"""

import csv
import sys
from pathlib import Path

SAME_SPEAKER = {"asterisk_es": "allison_smith"}


def rows(folder: Path) -> list[dict[str, str]]:
    """Read the tables and give all rows the same keys."""
    result = []
    with (folder / "phones.csv").open(encoding="utf-8", newline="") as file:
        phones = {row["path"]: row["phones"] for row in csv.DictReader(file)}
    for domain in ("speech", "sounds", "music"):
        with (folder / f"{domain}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                path = row.pop("path", None) or row.pop("piece")
                row |= {"path": path, "domain": domain}
                row["group"] = group(domain, row)
                if path in phones:
                    row["phones"] = phones[path]
                if "speaker" in row:
                    row["speaker"] = SAME_SPEAKER.get(row["speaker"], row["speaker"])
                # Where stems are, the stage `separate` finds out; durations are measured.
                for name in ("stems", "duration"):
                    row.pop(name, None)
                result.append(row)
    return result


def group(domain: str, row: dict[str, str]) -> str:
    """Name what a row must not be parted from."""
    if domain == "speech":
        return row["text"] if row["prompt"].startswith("tone") else row["prompt"]
    return row["path"].rsplit("_", 1)[0] if domain == "music" else row["path"]


def main(folder: str, output: str) -> None:
    """Write the joint table."""
    table = rows(Path(folder))
    columns = sorted(
        {name for row in table for name in row}, key=lambda name: (name != "path", name)
    )
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(f"{output}.part")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(table)
    temporary.replace(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
