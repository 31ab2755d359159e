import errno

import pytest

from audiossl.errors import UserError
from audiossl.whole import read_json, whole_file, write_json


def test_a_crash_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"step": 1})
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text("{half")
        raise RuntimeError("killed")
    assert read_json(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_the_users_to_mend(tmp_path):
    path = tmp_path / "record.json"
    with pytest.raises(UserError, match=r"record\.json.*free some space"), whole_file(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_broken_json_names_the_file(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("{half")
    with pytest.raises(UserError, match=r"record\.json: not valid JSON"):
        read_json(path)
