"""Give an encoder other statistics of clips: `... small.restate <encoder> <cuts> <folder> <names>`.

<name>s are those of `LayeredConfig.clip`. Weights stay as they are; the mean and deviation by which
the new statistics are standardized are measured on training cuts, <cuts>: of each domain as many.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from audiossl.atomic_files import read_json
from audiossl.data.corpus import Corpus
from audiossl.data.layout import RECORDING
from audiossl.models.build import build_encoder
from audiossl.models.layered import STATISTICS, Layered
from audiossl.pretrained.embed import embed
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import CONFIG, write_encoder
from audiossl.pretrained.sources import parse_source

DOMAINS = ("speech", "music", "sounds")
CLIPS = 400
"""Number of clips of each domain that are measured."""
LONGEST = 10 * 16_000
"""Samples of a clip that are measured."""


def restated(encoder: Layered, clips: list[np.ndarray], names: tuple[str, ...]) -> Layered:
    """Return an encoder of the same weights whose clip vectors are other statistics.

    Args:
        encoder: The weights.
        clips: Waveforms at 16 kHz over which the new statistics get mean 0 and variance 1.
        names: Statistics, in their order.
    """
    other = build_encoder(replace(encoder.config, clip=names))
    assert isinstance(other, Layered)
    state = {n: v for n, v in encoder.state_dict().items() if not n.startswith("clip_norm.")}
    other.load_state_dict(other.state_dict() | state)
    other.presentation = encoder.presentation
    # Its norm is still that of fresh weights, which changes nothing but by its epsilon.
    vectors = embed(clips, other.eval()).double()
    other.clip_norm.running_mean.copy_(vectors.mean(0))
    other.clip_norm.running_variance.copy_(vectors.var(0))
    return other


def training_clips(cuts: Path) -> list[np.ndarray]:
    """Read clips of the training split, as many of each domain, drawn with a fixed seed."""
    corpus, generator = Corpus(cuts), np.random.default_rng(0)
    rows: list[int] = []
    labels = list(corpus.labels())
    for domain in DOMAINS:
        own = [
            row for row, known in enumerate(labels)
            if known.get("split") == "train" and known.get("domain") == domain
        ]  # fmt: skip
        rows += sorted(generator.permutation(own)[:CLIPS].tolist())
    lengths = np.minimum(corpus.num_samples, LONGEST)
    return [corpus.waveform(row, RECORDING, 0, int(lengths[row])) for row in rows]


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(f"usage: python -m {__spec__.name} <encoder> <cuts> <folder> <statistic> ...")
    torch.set_num_threads(1)
    source, cuts, folder, *names = sys.argv[1:]
    if unknown := [name for name in names if name not in STATISTICS]:
        sys.exit(f"{unknown[0]}: no statistic of clips (known: {', '.join(STATISTICS)})")
    encoder = load_encoder(source)
    if not isinstance(encoder, Layered):
        sys.exit(f"{source}: is no encoder of kind layered, which has statistics to choose")
    provenance = read_json(Path(parse_source(source).place) / CONFIG)["provenance"]
    write_encoder(
        Path(folder), restated(encoder, training_clips(Path(cuts)), tuple(names)), provenance
    )
