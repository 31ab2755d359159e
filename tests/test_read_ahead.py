"""Items made in a thread: their order, their errors, and an end when nobody wants more."""

import itertools
import threading

import pytest

from audiossl.preemption import Preempted
from audiossl.read_ahead import read_ahead


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "read ahead"]


def test_the_next_item_is_made_while_one_is_used():
    second_is_made = threading.Event()

    def items():
        yield 1
        second_is_made.set()
        yield 2

    ahead = read_ahead(items())
    assert next(ahead) == 1
    assert second_is_made.wait(10.0)
    assert list(ahead) == [2]


@pytest.mark.parametrize("error", [ValueError("third"), Preempted(), KeyboardInterrupt()])
def test_what_is_raised_comes_after_the_items_before_it(error):
    def items():
        yield from (1, 2)
        raise error

    ahead = read_ahead(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(type(error)):
        next(ahead)
    assert not readers()


def test_a_consumer_that_stops_ends_the_thread_soon():
    made = []

    def items():
        for number in itertools.count():
            made.append(number)
            yield number

    ahead = read_ahead(items(), depth=2)
    assert next(ahead) == 0
    ahead.close()
    assert not readers()
    assert len(made) <= 5
