"""Decoding G.722: the reference library's samples, whatever else is decoded beside."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from egs.debian_packages.local.g722 import decode

GOLDEN = Path(__file__).parents[1] / "golden" / "g722.safetensors"


def test_samples_are_those_of_the_reference_library():
    # A chirp in noise, encoded and decoded by PyPI's G722 1.2.8 (the public-domain C code).
    golden = load_file(GOLDEN)
    ((_, samples),) = decode([golden["codes"].tobytes()])
    np.testing.assert_array_equal(samples, golden["samples"])


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_files_decoded_together_are_as_decoded_alone(side_by_side):
    codes = load_file(GOLDEN)["codes"].tobytes()
    files = [codes[:300], codes[:400], codes[:1], codes[100:250]]
    together = dict(decode(files, side_by_side))
    for number, file in enumerate(files):
        ((_, alone),) = decode([file])
        np.testing.assert_array_equal(together[number], alone)
        assert len(alone) == 2 * len(file)
