import errno
import subprocess
import sys

import pytest

from audiossl.atomic_files import (
    atomic_write,
    begin_folder,
    check_name,
    finish_folder,
    read_json,
    read_object,
    reading,
    remove_folder,
    write_json,
)
from audiossl.errors import UserError


def test_a_crash_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, {"step": 1})
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("{half")
        raise RuntimeError("killed")
    assert read_json(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_the_users_to_mend(tmp_path):
    path = tmp_path / "record.json"
    with pytest.raises(UserError, match=r"record\.json.*free some space"), atomic_write(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_broken_json_names_the_file(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("{half")
    with pytest.raises(UserError, match=r"record\.json: not valid JSON"):
        read_json(path)


def test_a_folder_has_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "step"
    (begin_folder(path) / "left_by_a_crash").write_text("half")
    assert not path.exists()
    (begin_folder(path) / "new").write_text("whole")
    finish_folder(path)
    assert [file.name for file in path.iterdir()] == ["new"]
    (begin_folder(path) / "newer").write_text("whole")
    finish_folder(path)
    assert [file.name for file in path.iterdir()] == ["newer"]
    remove_folder(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../../x", "..", ".hidden", "a/b", "a\\b", "", "a\0b", "x" * 101, "a\nb"]
)
def test_names_that_lead_out_of_a_folder_are_refused(name):
    with pytest.raises(UserError, match=r"run name .*: use letters, digits"):
        check_name(name, "run name")


@pytest.mark.parametrize("name", ["cola#0", "spear.large", "étude 2", "a+b-c_d"])
def test_names_that_people_give_are_taken(name):
    check_name(name, "run name")


_RESERVES = """
import resource, sys
from pathlib import Path
from audiossl.errors import UserError
from audiossl.atomic_files import reserve, atomic_write
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
try:
    with atomic_write(Path(sys.argv[1])) as temporary, temporary.open("wb") as file:
        reserve(file, 1 << 20)
except UserError as error:
    print(error)
"""


def test_room_for_a_mapped_file_is_sure_before_it_is_written(tmp_path):
    words = [sys.executable, "-c", _RESERVES, str(tmp_path / "x.npy")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "x.npy: cannot be written (File too large): free some space" in done.stdout
    assert not list(tmp_path.iterdir())


def test_what_is_read_of_another_form_names_its_file(tmp_path):
    write_json(tmp_path / "x.json", {"steps": "many"})
    with pytest.raises(UserError, match=r"x\.json: steps: expected int, found 'many'"):
        read_object(tmp_path / "x.json", steps=int)
    with pytest.raises(UserError, match=r"x\.json: other: expected str, found none"):
        read_object(tmp_path / "x.json", other=str)
    with (
        pytest.raises(UserError, match="damaged, or no list of steps"),
        reading(tmp_path / "x.json", "list of steps"),
    ):
        read_json(tmp_path / "x.json")["stepz"]
