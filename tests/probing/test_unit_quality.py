import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from audiossl.probing.unit_quality import abx_error, bit_rate, dtw_distances, unit_quality


def test_purity_and_pnmi_are_what_their_definitions_say():
    generator = np.random.default_rng(0)
    units, phones = generator.integers(0, 7, 500), generator.integers(0, 4, 500)
    units = np.where(generator.random(500) < 0.5, phones, units)
    counts = np.zeros((7, 4), np.int64)
    np.add.at(counts, (units, phones), 1)
    quality = unit_quality(counts)
    best = {unit: np.bincount(phones[units == unit]).argmax() for unit in set(units)}
    right = [best[unit] == phone for unit, phone in zip(units, phones, strict=True)]
    assert quality.phone_purity == pytest.approx(np.mean(right))
    entropy = mutual_info_score(phones, phones)
    assert quality.pnmi == pytest.approx(mutual_info_score(units, phones) / entropy)
    assert quality.num_frames == 500
    turned = unit_quality(counts.T)
    assert turned.phone_purity == quality.cluster_purity


def test_units_without_phones_tell_nothing():
    assert unit_quality(np.array([[2, 2], [3, 3]])).pnmi == pytest.approx(0.0)
    assert math.isnan(unit_quality(np.array([[5], [3]])).pnmi)


def test_bits_of_equally_likely_units_are_the_logarithm_of_their_number():
    codes = [np.arange(16)[:, None], np.arange(16)[:, None]]
    assert bit_rate(codes, seconds=2.0) == pytest.approx(16 * 4)
    two_books = [np.stack([np.arange(16), np.arange(16) // 4], axis=1)]
    assert bit_rate(two_books, seconds=1.0) == pytest.approx(16 * (4 + 2))


def _naive_distance(one, other):
    """The best path by trying them all."""
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    angles = np.arccos(np.clip(unit(one) @ unit(other).T, -1, 1)) / np.pi
    paths = []

    def walk(i, j, cost, steps):
        cost, steps = cost + angles[i, j], steps + 1
        if (i, j) == (len(one) - 1, len(other) - 1):
            paths.append((cost, steps))
            return
        for di, dj in ((1, 1), (0, 1), (1, 0)):
            if i + di < len(one) and j + dj < len(other):
                walk(i + di, j + dj, cost, steps)

    walk(0, 0, 0.0, 0)
    cost, steps = min(paths)
    return cost / steps


def test_warped_distances_are_those_of_the_best_path():
    generator = np.random.default_rng(1)
    items = [generator.standard_normal((length, 3)) for length in (1, 3, 4, 2, 4)]
    distances = dtw_distances(items)
    for row, one in enumerate(items):
        for column, other in enumerate(items):
            if row != column:
                expected = _naive_distance(one, other)
                assert distances[row, column] == pytest.approx(expected, abs=1e-4)


def _naive_abx(distances, phones, speakers, mode):
    cells = {}
    places = range(len(phones))
    for a in places:
        for b in places:
            for x in places:
                same = speakers[a] == speakers[b]
                if mode == "within":
                    same = same and speakers[x] == speakers[a]
                elif mode == "across":
                    same = same and speakers[x] != speakers[a]
                else:
                    same = True
                if same and a != x and phones[a] == phones[x] != phones[b]:
                    difference = distances[a, x] - distances[b, x]
                    error = 0.5 if abs(difference) < 1e-7 else float(difference > 0)
                    key = (phones[a], phones[b])
                    who = None if mode == "any" else (speakers[a], speakers[x])
                    cells.setdefault(key, {}).setdefault(who, []).append(error)
    means = [np.mean([np.mean(errors) for errors in cell.values()]) for cell in cells.values()]
    return np.mean(means)


@pytest.mark.parametrize("mode", ["within", "across", "any"])
def test_abx_is_the_mean_over_all_triples(mode):
    generator = np.random.default_rng(2)
    phones = [str(phone) for phone in generator.integers(0, 3, 24)]
    speakers = [int(speaker) for speaker in generator.integers(0, 3, 24)]
    items = [
        generator.standard_normal((generator.integers(1, 5), 4)) + np.eye(4)[int(phone)]
        for phone in phones
    ]
    error = abx_error(items, phones, speakers, mode)
    assert error == pytest.approx(_naive_abx(dtw_distances(items), phones, speakers, mode))
    assert 0.05 < error < 0.45


def test_equal_items_are_guessed_and_no_pair_is_no_number():
    item = np.ones((2, 3))
    assert abx_error([item] * 4, ["a", "a", "b", "b"]) == 0.5
    assert math.isnan(abx_error([item, item], ["a", "b"]))
    assert math.isnan(abx_error([item] * 3, ["a", "a", "b"], ["x", "y", "y"], "within"))
