"""What is known of clips beforehand, as vectors: columns of the manifest, tags, another model's.

Kernels of contrastive losses compare clips by them. Columns and tags are standardized, so that each
weighs alike; vectors are taken as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from audiossl.atomic_files import reading
from audiossl.data.corpus import Corpus
from audiossl.data.view_plan import texts_of
from audiossl.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PriorsConfig:
    """Where the prior vector of each cut comes from; all that are named stand side by side."""

    columns: tuple[str, ...] = ()
    """Labels that are numbers: a tempo, a year."""
    tags: tuple[str, ...] = ()
    """Labels that are one tag or several with "|" between: a genre, "rock|live"."""
    vectors: Path | None = None
    """File of vectors as `audiossl embed` writes it (.npz), of the cuts' files or ids."""


def read_priors(
    corpus: Corpus, cuts: Int[np.ndarray, " segments"], config: PriorsConfig
) -> Float[np.ndarray, "segments dim"]:
    """Make the prior vector of each cut; of no dimension where nothing is named.

    Raises:
        UserError: A label is missing, constant or, of a column, no number; a cut has no vector.
    """
    parts = [np.zeros((len(cuts), 0))]
    for column in config.columns:
        texts = texts_of(corpus, cuts, column, "priors.columns")
        values = np.array([_number(text) for text in texts])
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise UserError(
                f"priors.columns {column}: {texts[row]!r} of cut {corpus.name(int(cuts[row]))} "
                "is no number: name it in priors.tags, or mend the manifest"
            )
        parts.append(_standardized(values[:, None], f"priors.columns {column}"))
    for tag in config.tags:
        texts = texts_of(corpus, cuts, tag, "priors.tags")
        names = sorted({name for text in texts for name in text.split("|")})
        has = np.array([[name in text.split("|") for name in names] for text in texts], float)
        parts.append(_standardized(has[:, np.ptp(has, axis=0) > 0], f"priors.tags {tag}"))
    if config.vectors is not None:
        parts.append(_vectors(config.vectors, [corpus.name(cut) for cut in cuts.tolist()]))
    return np.concatenate(parts, axis=1).astype(np.float32)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _standardized(
    values: Float[np.ndarray, "segments dim"], name: str
) -> Float[np.ndarray, "segments dim"]:
    deviations = values.std(axis=0)
    if not values.shape[1] or not deviations.all():
        raise UserError(f"{name}: is the same for all cuts, and tells nothing apart: leave it out")
    return (values - values.mean(axis=0)) / deviations


def _vectors(path: Path, ids: Sequence[str]) -> Float[np.ndarray, "segments dim"]:
    """Find the vector of each cut, whose id is a file's path or the end of one."""
    with reading(path, "vectors"), np.load(path, allow_pickle=False) as file:
        if not {"paths", "vectors"} <= set(file.files):
            raise UserError(f"{path}: holds no paths and vectors: write it with audiossl embed")
        paths, vectors = file["paths"].tolist(), file["vectors"]
    rows = {
        "/".join(parts[start:]): row
        for row, name in enumerate(paths)
        for parts in [Path(name).with_suffix("").parts]
        for start in range(len(parts))
    }
    found = [rows.get(id_, rows.get(str(Path(id_).with_suffix("")))) for id_ in ids]
    if None in found:
        raise UserError(f"{path}: has no vector of cut {ids[found.index(None)]}: embed all cuts")
    chosen: np.ndarray = vectors[np.array(found)]
    if chosen.ndim != 2 or not np.isfinite(chosen).all():
        raise UserError(f"{path}: vectors are not one finite row a file: embed without --frames")
    return chosen
