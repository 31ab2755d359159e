"""Embed audio files of any format, rate and length.

Files that cannot be read are named and left out, and the others are written: exit code 3, or 0 with
--skip, which says that some may be left out.

example: audiossl embed clips/*.mp3 --encoder exp/pretrain --output clips.npz
"""

import argparse
import csv
from pathlib import Path
from typing import TextIO

import numpy as np

from audiossl.atomic_files import atomic_write, remove_leftovers_of
from audiossl.audio.presentation import CHUNK
from audiossl.cli.terminal import as_is, warn
from audiossl.errors import Skip, UserError
from audiossl.pretrained.embed import DEFAULT, embed_files
from audiossl.pretrained.pieces import Embedded

INCOMPLETE = 3
"""Exit code where everything was written but what could not be read."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    as_is(parser)
    parser.add_argument("files", nargs="+", metavar="AUDIO",
        help='audio files, folders, or patterns ("clips/**/*.wav")',
    )  # fmt: skip
    parser.add_argument(
        "--encoder", default=DEFAULT,
        help="folder of ours, or kind:path; default %(default)s, which comes with this package",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, default=Path("embeddings.npz"),
        help="where to: .npz (paths, vectors), .npy (vectors), .csv; default %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--frames", action="store_true", help="vectors in time rather than one a file"
    )
    parser.add_argument(
        "--chunk", type=float, default=CHUNK, help="seconds that are encoded at once: %(default)s"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--skip",
        action="store_true",
        help="exit with 0 even if files had to be left out",
    )


def run(arguments: argparse.Namespace) -> int:
    """Embed and write; `INCOMPLETE` if files were left out that should not."""
    output: Path = arguments.output
    writers = {".npz": _write_npz, ".npy": _write_npy, ".csv": _write_csv}
    if output.suffix not in writers:
        raise UserError(f"--output {output}: expected .npz, .npy or .csv")
    if output.suffix == ".npy" and arguments.frames:
        raise UserError("--frames of several files have several lengths: use .npz or .csv")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise UserError(f"--output {output}: expected a file in a folder that exists")
    remove_leftovers_of(output)
    skipped: list[Skip] = []

    def on_skip(reason: Skip) -> None:
        warn(f"left out: {reason}")
        skipped.append(reason)

    embedded = embed_files(
        arguments.files,
        arguments.encoder,
        frames=arguments.frames,
        chunk=arguments.chunk,
        device=arguments.device,
        on_skip=on_skip,
    )
    writers[output.suffix](output, embedded, arguments)
    left = f", {len(skipped)} left out" if skipped else ""
    print(
        f"{output}: {len(embedded.paths)} files{left}, {embedded.values[0].shape[-1]} values each, "
        f"by {arguments.encoder}"
    )
    return INCOMPLETE if skipped and not arguments.skip else 0


def _write_npz(output: Path, embedded: Embedded, arguments: argparse.Namespace) -> None:
    paths = np.array([str(path) for path in embedded.paths])
    name, layer = np.array(arguments.encoder), np.array(embedded.layer_convention)
    with atomic_write(output) as temporary, temporary.open("wb") as file:
        if not arguments.frames:
            vectors = embedded.stacked().numpy()
            np.savez(file, paths=paths, encoder=name, layer_convention=layer, vectors=vectors)
            return
        np.savez(
            file,
            paths=paths,
            encoder=name,
            layer_convention=layer,
            frames=np.concatenate([value.numpy() for value in embedded.values]),
            num_frames=np.array([len(value) for value in embedded.values]),
            frame_rate=np.array(embedded.frame_rate),
        )


def _write_npy(output: Path, embedded: Embedded, arguments: argparse.Namespace) -> None:  # noqa: ARG001
    with atomic_write(output) as temporary, temporary.open("wb") as file:
        np.save(file, embedded.stacked().numpy())


def _write_csv(output: Path, embedded: Embedded, arguments: argparse.Namespace) -> None:
    dim = embedded.values[0].shape[-1]
    names = [f"e{index}" for index in range(dim)]
    with atomic_write(output) as temporary, _opened_text(temporary) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", *(["time"] if arguments.frames else []), *names])
        for path, value in zip(embedded.paths, embedded.values, strict=True):
            if not arguments.frames:
                writer.writerow([path, *(f"{number:.7g}" for number in value.tolist())])
                continue
            for index, row in enumerate(value.tolist()):
                time = f"{index / embedded.frame_rate:.3f}"
                writer.writerow([path, time, *(f"{number:.7g}" for number in row)])


def _opened_text(path: Path) -> TextIO:
    # Names of files need not be text: their bytes are written as they are.
    return path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
