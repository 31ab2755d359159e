"""How well speech is found in music, on 40 pairs of the corpus that comes with the project."""

import time

import numpy as np
import pytest
import torch

from audiossl.separation.build import build_separator
from audiossl.separation.decomposition import DecompositionConfig
from audiossl.separation.recordings import separate_recordings
from audiossl.separation.spleeter import SpleeterConfig
from tests.separation.mixtures import speech_over_music
from tests.separation.si_sdr import si_sdr


@pytest.mark.long
@pytest.mark.parametrize(
    ("config", "least"), [(SpleeterConfig(), 5.0), (DecompositionConfig(), -np.inf)]
)
def test_speech_over_music(config, least):
    separator = build_separator(config)
    pairs = list(speech_over_music(40))
    started, gains = time.perf_counter(), []
    found = separate_recordings(separator, [mixture for mixture, _ in pairs], batch_size=2)
    for (mixture, speech), stems in zip(pairs, found, strict=True):
        target = torch.from_numpy(speech)
        before = si_sdr(torch.from_numpy(mixture), target)
        gains.append(float(si_sdr(torch.from_numpy(stems["vocals"]), target) - before))
    seconds = time.perf_counter() - started
    audio = sum(len(mixture) for mixture, _ in pairs) / 16_000
    low, median, high = np.percentile(gains, [10, 50, 90])
    print(
        f"\n{config.kind}: SI-SDR gain {median:.2f} dB (median; 10 % below {low:.2f}, 10 % above "
        f"{high:.2f}), {audio / seconds:.1f} times real time"
    )
    assert median >= least
