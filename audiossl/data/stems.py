"""Stems of the cuts of a corpus, a shard at a time: written beside it as further fields."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from jaxtyping import Float

from audiossl.atomic_files import read_json
from audiossl.data.columns import write_part
from audiossl.data.corpus import Corpus
from audiossl.data.layout import field_file, part_file
from audiossl.data.preparing import finish_corpus
from audiossl.data.shar import Encoding, FieldWriter

Stems = Mapping[str, Float[np.ndarray, " samples"]]
SILENCE = 1e-4
"""A stem whose largest sample is below this (-80 dBFS) is stored as absent and takes no room."""


def write_stems(
    corpus: Corpus,
    shard: int,
    stems: Iterable[Stems | None],
    names: tuple[str, ...],
    *,
    folder: str | Path,
    encoding: Encoding,
) -> tuple[str, ...]:
    """Write the stems of the cuts of one shard, in order.

    Args:
        corpus: Whose stems they are.
        shard: Number of the shard.
        stems: For every cut its stems by name, None where it has none.
        names: All names that occur.
        folder: Where to.
        encoding: As of corpora.

    Returns:
        The files written, relative to `folder`.
    """
    folder = Path(folder)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(FieldWriter(folder, name, shard, encoding)) for name in names
        ]
        for index, stems_of_cut in zip(corpus.shard_cuts(shard), stems, strict=True):
            for writer in writers:
                waveform = (stems_of_cut or {}).get(writer.field_name)
                if waveform is not None:
                    waveform = _fitted(waveform, int(corpus.num_samples[index]))
                writer.write(corpus.name(int(index)), waveform)
    for writer in writers:
        write_part(folder / part_file(writer.field_name, shard), writer.columns())
    files = [(field_file(name, shard), part_file(name, shard)) for name in names]
    return tuple(file for pair in files for file in pair)


def _fitted(
    waveform: Float[np.ndarray, " samples"], num_samples: int
) -> Float[np.ndarray, " fitted"] | None:
    """Bring a stem, which resampling may have rounded, to the length of its cut; None if silent."""
    if np.abs(waveform).max(initial=0.0) < SILENCE:
        return None
    return np.pad(waveform[:num_samples], (0, max(0, num_samples - len(waveform))))


def finish_stems(corpus: Corpus, folder: str | Path, names: tuple[str, ...], encoding: str) -> None:
    """Join the columns of all shards; the folder can then be opened beside its corpus."""
    folder = Path(folder)
    described = read_json(corpus.folder / "corpus.json")
    facts = {"encoding": encoding, "cuts": described["cuts"]}
    finish_corpus(folder, described["num_shards"], names, facts)
