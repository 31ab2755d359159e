import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from audiossl.errors import UserError
from audiossl.nn.pickled_arrays import array_globals, stand_ins
from audiossl.nn.weights import read_weights


def read(path):
    with torch.serialization.safe_globals(array_globals()):
        return read_weights(path)


@pytest.mark.parametrize("package", ["core", "_core"])
def test_arrays_and_scalars_of_both_numpys_come_out(tmp_path, package):
    content = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float64(2.5)}
    path = tmp_path / "arrays.pt"
    # Protocol 2 writes names as text, so that the home of numpy's functions can be renamed.
    torch.save(content, path, pickle_protocol=2, _use_new_zipfile_serialization=False)
    raw = path.read_bytes().replace(b"numpy._core.", f"numpy.{package}.".encode())
    path.write_bytes(raw)
    found = read(path)
    np.testing.assert_array_equal(found["a"], content["a"])
    assert found["b"] == 2.5


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_code_stays_refused_even_inside_an_array(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in ({"a": _Bomb()}, {"a": np.array([_Bomb()], dtype=object)}):
        (tmp_path / "bomb.pt").write_bytes(pickle.dumps(content, protocol=2))
        with pytest.raises(UserError, match="refused"):
            read(tmp_path / "bomb.pt")
    assert not (tmp_path / "exploded").exists()


def test_a_damaged_zip_is_a_damaged_file_wherever_it_is_hit(tmp_path):
    torch.save({"args": torch.zeros(3)}, tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    path = tmp_path / "damaged.pt"
    outcomes = set()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            stand_ins(path, ("argparse.Namespace",))
            outcomes.add("read")
        except (ValueError, KeyError, EOFError, OSError):
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
