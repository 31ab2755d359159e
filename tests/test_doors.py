import errno
from pathlib import Path

import pytest

from audiossl.doors import exit_code
from audiossl.errors import Skip, UserError
from audiossl.preemption import Preempted


def _raise(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("a.wav: no such file"), 2, "x: a.wav: no such file"),
        (Skip("a\nb"), 2, "x: a b"),
        (OSError(errno.ENOSPC, "No space left on device", "y.pt"), 2, "y.pt: No space left"),
        (MemoryError(), 2, "out of memory"),
        (KeyboardInterrupt(), 75, "the same command goes on from here"),
        (Preempted(), 75, "the same command goes on from here"),
        (UserError("\udce9.wav is odd"), 2, "is odd"),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(capsys, error, code, line):
    assert exit_code("x", _raise(error), resumable=True) == code
    told = capsys.readouterr().err
    assert line in told
    assert len(told.splitlines()) == 1


def test_a_fault_names_a_file_with_the_traceback_and_exits_1(capsys):
    assert exit_code("x", _raise(KeyError("steps"))) == 1
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    assert "this is a fault of audiossl: KeyError: 'steps' (test_doors.py:" in told
    report = Path(told.split("please report it with ")[1].strip())
    assert "Traceback" in report.read_text()
    report.unlink()


def test_a_reader_that_left_is_no_fault():
    with pytest.raises(BrokenPipeError):
        exit_code("x", _raise(BrokenPipeError(errno.EPIPE, "gone")))
