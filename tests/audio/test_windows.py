from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audiossl.audio.windows import context_spans, covering_starts, equal_spans, even_starts


@given(st.integers(0, 500), st.integers(1, 60), st.integers(1, 60), st.integers(1, 5))
def test_covering_windows_leave_no_step_out_and_begin_at_units(length, window, hop, unit):
    window, hop = window * unit, min(hop, window) * unit
    starts = covering_starts(length, window, hop, unit)
    covered = {step for start in starts for step in range(start, start + window)}
    assert set(range(length)) <= covered
    assert all(start % unit == 0 for start in starts)
    assert all(0 < after - before <= hop for before, after in pairwise(starts))


@given(st.integers(1, 5000), st.integers(1, 800), st.floats(0, 0.9))
def test_even_windows_cover_the_clip_and_overlap_enough(length, window, overlap):
    starts = even_starts(length, window, overlap)
    assert starts[0] == 0
    assert starts[-1] + window == max(length, window)
    hop = max(1, np.floor(window * (1 - overlap)))
    assert (np.diff(starts) >= 1).all()
    assert (np.diff(starts) <= hop).all()
    assert len(starts) == 1 + np.ceil(max(0, length - window) / hop)


def test_a_clip_as_long_as_a_window_is_one_window():
    # Demucs' apply_model takes two.
    assert even_starts(780, 780, 0.25) == [0]
    assert even_starts(300, 780, 0.25) == [0]


@given(st.integers(1, 10_000), st.integers(1, 50))
def test_equal_pieces_lie_end_to_end_and_differ_by_a_step(length, count):
    spans = equal_spans(length, count)
    assert (spans[0][0], spans[-1][1]) == (0, length)
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    sizes = [stop - start for start, stop in spans]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 1000), st.integers(1, 100), st.integers(0, 20))
def test_windows_with_context_keep_every_step_once(length, window, context):
    kept = []
    for span in context_spans(length, window, context):
        assert span.begin == max(0, span.first - context)
        assert span.end == span.first + window + context
        kept += range(span.first, span.first + span.keep)
    assert kept == list(range(length))
