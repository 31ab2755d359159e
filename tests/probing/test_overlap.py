import numpy as np
import soundfile

from audiossl.data.corpus import Corpus
from audiossl.probing.overlap import overlap
from tests.data.corpora import RATE, prepare, tone


def test_copies_of_audio_are_found_under_other_names_and_silence_is_no_copy(tmp_path):
    waves = {"a": tone(0.5, 300), "b": tone(0.5, 400), "silent": np.zeros(8000, np.float32)}
    for folder, names in (("one", "x y z"), ("two", "p q r")):
        (tmp_path / folder).mkdir()
        for name, wave in zip(names.split(), waves.values(), strict=True):
            soundfile.write(tmp_path / folder / f"{name}.wav", wave, RATE)
        prepare(tmp_path / folder, tmp_path / f"{folder}_cuts")
    first, second = (Corpus(tmp_path / f"{name}_cuts") for name in ("one", "two"))
    every = np.arange(3)
    assert overlap(first, every, second, every).shared == {"recording": 0, "speaker": 0, "audio": 2}
    assert overlap(first, every[:1], second, every).shared["audio"] == 1
    assert not overlap(first, every[:1], second, every[1:])
    assert overlap(first, every, first, every).shared["recording"] == 3
