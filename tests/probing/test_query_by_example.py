import numpy as np
import torch

from audiossl.probing import query_by_example
from audiossl.probing.dynamic_time_warping import frame_costs, subsequence_costs
from audiossl.probing.query_by_example import search


def _corpus():
    generator = np.random.default_rng(0)
    words = {name: generator.normal(size=(6, 16)) for name in "abcdef"}
    noisy = lambda frames: frames + 0.3 * generator.normal(size=frames.shape)  # noqa: E731
    documents = [
        noisy(np.concatenate([np.repeat(words[w], 2, axis=0) for w in text]))
        for text in ("abc", "cde", "fba", "de", "ef", "fc")
    ]
    return [noisy(words[name]) for name in "abcdef"], documents


def test_a_word_is_found_in_the_documents_that_hold_it():
    queries, documents = _corpus()
    scores = search(queries, documents)
    held = [[word in text for text in ("abc", "cde", "fba", "de", "ef", "fc")] for word in "abcdef"]
    held = np.array(held)
    assert scores[held].min() > scores[~held].max()


def test_scores_are_standardized_within_a_query_and_short_queries_are_not_searched():
    queries, documents = _corpus()
    scores = search([*queries, queries[0][:4]], documents)
    np.testing.assert_allclose(scores.mean(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(scores[:-1].std(axis=1), 1)
    assert (scores[-1] == 0).all()


def test_blocks_of_documents_change_nothing(monkeypatch):
    queries, documents = _corpus()
    whole = search(queries, documents)
    monkeypatch.setattr(query_by_example, "_CELLS", 100)
    np.testing.assert_allclose(search(queries, documents), whole, atol=1e-5)


def test_frames_are_standardized_over_queries_and_documents():
    queries, documents = _corpus()
    everything = np.concatenate([*queries, *documents])
    mean, deviation = everything.mean(axis=0), everything.std(axis=0, ddof=1)
    unit = lambda x: torch.nn.functional.normalize(  # noqa: E731
        torch.from_numpy((x - mean) / deviation).float(), dim=1
    )
    costs = []
    for document in documents:
        one = unit(document)[None]
        valid = torch.ones(1, len(document), dtype=torch.bool)
        costs.append(float(subsequence_costs(frame_costs(unit(queries[0]), one, valid))))
    expected = -np.array(costs)
    expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(search(queries, documents)[0], expected, atol=1e-4)
    shifted = search([3 * q + 7 for q in queries], [3 * d + 7 for d in documents])
    np.testing.assert_allclose(shifted[0], expected, atol=1e-3)
