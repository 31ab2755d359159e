import json

import numpy as np
import pytest
import torch

from audiossl.errors import UserError
from audiossl.nn.codes import Codes, checksum, read_codes

OWN, OTHER = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def codes():
    return Codes(torch.randint(256, (30, 4), dtype=torch.uint8), OWN, 50.0)


def test_what_was_stored_comes_back(codes):
    receipt = json.loads(json.dumps(codes.receipt()))
    again = read_codes(codes.values.numpy(), receipt, "cut-1")
    assert torch.equal(again.values, codes.values)
    assert (again.quantizer_id, again.frame_rate) == (codes.quantizer_id, 50.0)


def test_codes_of_another_quantizer_are_refused_by_name(codes):
    codes.check_made_by(OWN, "cut-1")
    with pytest.raises(UserError, match=f"cut-1: codes of quantizer {OWN}, but.*{OTHER}"):
        codes.check_made_by(OTHER, "cut-1")


def test_a_truncated_or_changed_array_is_refused(codes):
    values, receipt = codes.values.numpy(), codes.receipt()
    with pytest.raises(UserError, match=r"cut-1: codes are damaged: \(29, 4\) on disk, \(30, 4\)"):
        read_codes(values[:-1], receipt, "cut-1")
    changed = values.copy()
    changed[-1] = 0
    changed[-1, -1] = values[-1, -1] ^ 1
    with pytest.raises(UserError, match="cut-1: codes are damaged: their checksum differs"):
        read_codes(changed, receipt, "cut-1")
    with pytest.raises(UserError, match="cut-1: its codes come without quantizer_id"):
        read_codes(values, {"frame_rate": 50.0, "checksum": ""}, "cut-1")


def test_the_checksum_hangs_on_values_and_not_on_their_type():
    values = np.arange(12).reshape(6, 2)
    sums = {checksum(torch.from_numpy(values.astype(t))) for t in (np.uint8, np.int16, np.int64)}
    assert len(sums) == 1
    assert checksum(torch.from_numpy(values + 1)) not in sums


def test_codes_beyond_a_byte_survive():
    values = torch.tensor([[300], [5]], dtype=torch.int16)
    codes = Codes(values, "0" * 16, 25.0)
    assert torch.equal(read_codes(values.numpy(), codes.receipt(), "x").values, values)
