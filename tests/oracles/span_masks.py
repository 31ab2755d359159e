"""wav2vec 2.0's static spans, one sequence at a time, with loops: slow and plain."""

import numpy as np


def naive_spans(size: int, p: float, length: int, least: int, rng: np.random.Generator):
    count = int(p * size / length + rng.random())
    count = min(max(least, count), size // length)
    room = size - length
    if room <= count:
        room = count + 1
    mask = np.zeros(size, bool)
    for start in rng.choice(room, count, replace=False):
        mask[start : start + length] = True
    return mask
