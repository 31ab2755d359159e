import os
import signal

import pytest

from audiossl.preemption import Preempted, safe_point, stop_flag, stop_requested


def _stop(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def test_a_signal_raises_nothing_until_a_safe_point():
    with stop_flag() as flag:
        safe_point()
        try:
            _stop()
        except BaseException:
            pytest.fail("the handler raised")
        assert flag
        with pytest.raises(Preempted):
            safe_point()


def test_nobody_who_leaves_out_bad_items_takes_a_stop_for_one():
    with stop_flag(), pytest.raises(Preempted):
        _stop()
        try:
            safe_point()
        except Exception:
            pytest.fail("taken for a bad item")


def test_a_run_within_a_run_shares_the_flag_and_a_finished_one_leaves_none():
    with stop_flag() as outer:
        with stop_flag() as inner:
            _stop(signal.SIGUSR1)
            assert inner is outer
        assert stop_requested()
    assert not stop_requested()
    safe_point()


def test_a_second_ctrl_c_interrupts_at_once():
    with stop_flag(), pytest.raises(KeyboardInterrupt):
        _stop(signal.SIGINT)
        _stop(signal.SIGINT)
