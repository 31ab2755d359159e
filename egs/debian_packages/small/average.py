"""The mean of the weights of two encoders: `... small.average <one> <other> <folder>`.

Of an encoder and what training has made of it: between the two, what was learned later is kept and
less of what was known before is lost (Wortsman et al., "Robust fine-tuning of zero-shot models",
2022).
"""

import sys
from pathlib import Path

from audiossl.atomic_files import read_json
from audiossl.models.encoder import FeatureEncoder
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import CONFIG, write_encoder


def average(one: str, other: str, folder: Path) -> None:
    """Write the mean; its provenance is that of `other`."""
    encoder, first = load_encoder(other), load_encoder(one).state_dict()
    assert isinstance(encoder, FeatureEncoder)
    state = encoder.state_dict()
    means = {n: (v + first[n]) / 2 if v.is_floating_point() else v for n, v in state.items()}
    encoder.load_state_dict(means)
    write_encoder(folder, encoder, read_json(Path(other) / CONFIG)["provenance"])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(f"usage: python -m {__spec__.name} <one> <other> <folder>")
    average(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
