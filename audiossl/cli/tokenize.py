"""Turn audio into discrete units, for language models of audio.

The folder of a quantizer (recipes.spear.train_quantizer) says whose frames it takes, and an encoder
of this package lies in it. One line or record a file; units of several codebooks are joined by "_".
With --alignments it is also printed how well units follow phones.

example: audiossl tokenize clips/*.wav --quantizer exp/quantizer --output units.txt --distinct
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer

from audiossl.atomic_files import atomic_write, remove_leftovers_of
from audiossl.audio.presentation import CHUNK
from audiossl.cli.columns import columns
from audiossl.cli.embed import INCOMPLETE
from audiossl.cli.terminal import as_is, warn
from audiossl.cli.unit_figures import figures, read_speakers
from audiossl.data.alignments import read_ctm
from audiossl.errors import Skip, UserError
from audiossl.pretrained.units import Units, load_tokenizer, tokenize, without_repeats


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    as_is(parser)
    parser.add_argument("files", nargs="+", metavar="AUDIO",
        help='audio files, folders, or patterns ("clips/**/*.wav")',
    )  # fmt: skip
    parser.add_argument(
        "--quantizer", type=Path, required=True,
        help="folder of a quantizer and its encoder, or a file of a quantizer alone",
    )  # fmt: skip
    parser.add_argument(
        "--encoder", help="where the quantizer's encoder lies now, if it is not found; kind:path"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("units.txt"),
        help="where to: .txt (path, tab, units), .jsonl, .npz; default %(default)s",
    )  # fmt: skip
    parser.add_argument("--distinct", action="store_true", help="merge repeats of a unit")
    parser.add_argument(
        "--alignments", type=Path, metavar="CTM",
        help="phones of the files, whose names without suffix are the recordings: prints quality",
    )  # fmt: skip
    parser.add_argument(
        "--speakers", type=Path, metavar="UTT2SPK", help="speaker of each recording, for ABX"
    )
    parser.add_argument(
        "--chunk", type=float, default=CHUNK, help="seconds that are encoded at once: %(default)s"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--skip", action="store_true", help="exit with 0 even if files had to be left out"
    )


def run(arguments: argparse.Namespace) -> int:
    """Tokenize, write, and print the figures; `INCOMPLETE` if files were left out."""
    output: Path = arguments.output
    writers = {".txt": _text, ".jsonl": _json_lines, ".npz": None}
    if output.suffix not in writers:
        raise UserError(f"--output {output}: expected .txt, .jsonl or .npz")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise UserError(f"--output {output}: expected a file in a folder that exists")
    if arguments.speakers and not arguments.alignments:
        raise UserError("--speakers is for ABX, which needs --alignments, too")
    phones = read_ctm(arguments.alignments) if arguments.alignments else {}
    speakers = read_speakers(arguments.speakers) if arguments.speakers else None
    remove_leftovers_of(output)
    skipped: list[Skip] = []

    def on_skip(reason: Skip) -> None:
        warn(f"left out: {reason}")
        skipped.append(reason)

    tokenizer = load_tokenizer(arguments.quantizer, arguments.encoder)
    units = tokenize(
        arguments.files, tokenizer, chunk=arguments.chunk, device=arguments.device, on_skip=on_skip
    )
    rows = list(_rows(units, distinct=arguments.distinct))
    write = writers[output.suffix]
    with atomic_write(output) as temporary:
        if write is None:
            _write_npz(temporary, rows, units)
        else:
            lines = "".join(f"{write(row)}\n" for row in rows)
            temporary.write_text(lines, encoding="utf-8", errors="surrogateescape")
    print(columns(figures(units, tokenizer.quantizer, phones, speakers)))
    left = f", {len(skipped)} left out" if skipped else ""
    print(f"{output}: {len(rows)} files{left}, by quantizer {units.quantizer_id}")
    return INCOMPLETE if skipped and not arguments.skip else 0


@dataclass(frozen=True)
class _Row:
    """Units of one file."""

    path: Path
    units: Integer[np.ndarray, "units codebooks"]
    starts: Float[np.ndarray, " units"]
    """Seconds."""
    durations: Float[np.ndarray, " units"]
    """Seconds."""


def _rows(units: Units, *, distinct: bool) -> Iterator[_Row]:
    for path, codes in zip(units.paths, units.codes, strict=True):
        counts = np.ones(len(codes), np.int64)
        if distinct:
            codes, merged = without_repeats(codes)
            counts = merged.numpy()
        starts = (np.cumsum(counts) - counts) / units.frame_rate
        yield _Row(path, codes.numpy(), starts, counts / units.frame_rate)


def _text(row: _Row) -> str:
    return f"{row.path}\t{' '.join('_'.join(map(str, unit)) for unit in row.units)}"


def _json_lines(row: _Row) -> str:
    single = row.units.shape[1] == 1
    content = {
        "path": str(row.path),
        "units": (row.units[:, 0] if single else row.units).tolist(),
        "starts": row.starts.round(4).tolist(),
        "durations": row.durations.round(4).tolist(),
    }
    return json.dumps(content, ensure_ascii=False)


def _write_npz(path: Path, rows: list[_Row], units: Units) -> None:
    with path.open("wb") as file:
        np.savez(
            file,
            paths=np.array([str(row.path) for row in rows]),
            units=np.concatenate([row.units for row in rows]),
            num_units=np.array([len(row.units) for row in rows]),
            starts=np.concatenate([row.starts for row in rows]),
            durations=np.concatenate([row.durations for row in rows]),
            frame_rate=np.array(units.frame_rate),
            quantizer=np.array(units.quantizer_id),
            encoder=np.array(units.encoder),
            layer_convention=np.array(units.layer_convention),
        )
