"""Codes beside a corpus: a field of lhotse's temporal arrays in tars of its own, a shard each.

`shar/<field>.000012.tar` holds the (frames, codebooks) array of every cut of shard 12, in order, as
numpy writes it; cuts and recordings are not touched, nor are another teacher's codes. lhotse reads
it as one more field of the cut and cuts it with the cut. Where each array lies, and what it must
contain, is kept in columns, so that any cut's codes are a slice of a mapped file, checked.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiossl.atomic_files import read_json
from audiossl.audio.frame_rates import num_whole_frames
from audiossl.data.columns import map_file, open_columns
from audiossl.data.layout import SAMPLE_RATE, cuts_file, field_file
from audiossl.errors import UserError
from audiossl.nn.codes import Codes, read_codes


@dataclass(frozen=True)
class CodeFacts:
    """What all codes of a field have in common; kept in corpus.json."""

    quantizer_id: str
    """Id of the quantizer that chose them."""
    frame_rate: float
    """Frames a second."""
    num_codebooks: int
    """Codes a frame."""
    codebook_size: int
    """Entries of a codebook."""
    dtype: str
    """Data type of the stored codes: uint8 where a byte holds one."""


@dataclass(frozen=True)
class CodeField:
    """The codes that one teacher and quantizer gave the cuts of a corpus."""

    name: str
    folder: Path
    facts: CodeFacts
    columns: dict[str, np.ndarray]
    """offset and num_frames of each array in its tar, and the CRC-32 of its values."""

    @classmethod
    def opened(cls, folder: Path, name: str, facts: dict[str, Any]) -> "CodeField":
        """Open the field `name` of a folder whose corpus.json says `facts` of it."""
        return cls(name, folder, CodeFacts(**facts), open_columns(folder, name))

    @property
    def present(self) -> np.ndarray:
        """Whether each cut has codes."""
        return self.columns["num_frames"] > 0

    def check_made_by(self, quantizer_id: str) -> None:
        """Refuse codes of another quantizer.

        Raises:
            UserError: Another quantizer chose them.
        """
        if self.facts.quantizer_id != quantizer_id:
            raise UserError(
                f"{self.folder}: codes {self.name!r} are of quantizer {self.facts.quantizer_id}, "
                f"but quantizer {quantizer_id} is asked for: encode the cuts with it, or give this "
                "run the other one"
            )

    def read(self, index: int, shard: int, cut_id: str) -> Codes:
        """Read the codes of a cut.

        Raises:
            UserError: It has none, or what lies on disk is not what was written.
        """
        num_frames = int(self.columns["num_frames"][index])
        if num_frames == 0:
            raise UserError(f"cut {cut_id}: has no codes {self.name!r} in {self.folder}")
        kind, width = np.dtype(self.facts.dtype), self.facts.num_codebooks
        first, row = int(self.columns["offset"][index]), width * kind.itemsize
        mapped = map_file(self.folder / field_file(self.name, shard))
        content = mapped[first : first + num_frames * row]
        # A file that was cut short gives fewer rows than were written, which is refused below.
        whole = np.array(content[: len(content) // row * row])
        values = whole.view(kind).reshape(-1, width)
        receipt = {
            "quantizer_id": self.facts.quantizer_id,
            "frame_rate": self.facts.frame_rate,
            "num_frames": num_frames,
            "num_codebooks": width,
            "checksum": f"{int(self.columns['checksum'][index]):08x}",
        }
        return read_codes(values, receipt, f"cut {cut_id}, codes {self.name!r}")


def cropped(codes: Codes, start: int, num_samples: int) -> Codes:
    """Cut codes as their cut is cut.

    Args:
        codes: Of the whole cut.
        start: First sample of the crop, at 16 kHz; the nearest frame is the first.
        num_samples: Samples of the crop; only whole frames are kept.
    """
    first = round(start * codes.frame_rate / SAMPLE_RATE)
    count = num_whole_frames(num_samples / SAMPLE_RATE, codes.frame_rate)
    values = codes.values[first : first + count]
    return Codes(values, codes.quantizer_id, codes.frame_rate)


def shar_fields(corpus_folder: str | Path, *code_folders: str | Path) -> dict[str, list[str]]:
    """List the files of a corpus and of codes beside it, as lhotse's `CutSet.from_shar` takes them.

    Args:
        corpus_folder: Output of a `prepare` stage.
        code_folders: Outputs of `encode` for the same cuts.
    """
    corpus, *coded = [Path(folder) for folder in (corpus_folder, *code_folders)]
    shards = range(read_json(corpus / "corpus.json")["num_shards"])
    fields = {"cuts": [str(corpus / cuts_file(shard)) for shard in shards]}
    for folder in (corpus, *coded):
        facts = read_json(folder / "corpus.json")
        for name in (*facts["fields"], *facts.get("codes", {})):
            fields[name] = [str(folder / field_file(name, shard)) for shard in shards]
    return fields
