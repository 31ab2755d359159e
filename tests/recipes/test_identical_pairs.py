"""Pairs of crops that are the same are counted, and warned about where nothing tells them apart."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from audiossl.data.views import ViewsConfig
from audiossl.features.augmentations import AugmentationsConfig
from audiossl.methods.cola import ColaConfig
from recipes.pretraining import report_identical


@pytest.mark.parametrize(
    ("noise", "views", "count", "warns"),
    [
        (0.0, {}, 3, True),
        (0.001, {}, 3, False),
        (0.0, {"augmentations": AugmentationsConfig()}, 3, False),
        (0.0, {"sources": {"drums": 1.0}}, 0, False),
    ],
)
def test_identical_pairs_are_told(caplog, noise, views, count, warns):
    identical = np.array([True, False, True, True])
    pairs = SimpleNamespace(identical=identical, cuts=np.arange(4), config=ViewsConfig(**views))
    stage = SimpleNamespace(log=logging.getLogger("stage"))
    assert report_identical(pairs, ColaConfig(noise=noise), stage) == count
    assert bool(caplog.messages) == warns
    if warns:
        assert "3 of 4 segments (75 %) are no longer than a crop of 16000 samples" in caplog.text
