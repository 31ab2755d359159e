"""Four stems by librosa's functions as they come: slow and plain."""

import librosa
import numpy as np


def librosas_stems(mixture, sample_rate, config):
    spectrum = librosa.stft(mixture, n_fft=2048, hop_length=512)
    magnitudes = np.abs(spectrum)
    harmonic, percussive = librosa.decompose.hpss(magnitudes, mask=True)
    frequencies = np.arange(len(magnitudes), dtype=np.float32)[:, None] * (sample_rate / 2048)
    bass = harmonic * np.clip((config.bass_edge - frequencies) / (0.2 * config.bass_edge), 0, 1)
    rest = harmonic - bass
    voice = _voice(magnitudes * rest, round(config.repetition * sample_rate / 512), config)
    masks = {"drums": percussive, "bass": bass, "vocals": rest * voice}
    stems = {
        name: librosa.istft(spectrum * mask, hop_length=512, length=len(mixture))
        for name, mask in masks.items()
    }
    return {**stems, "other": mixture - stems["drums"] - stems["bass"] - stems["vocals"]}


def _voice(magnitudes, lag, config):
    lag = min(lag, magnitudes.shape[1] // 4)
    if lag < 1:
        return np.zeros_like(magnitudes)
    similar = librosa.decompose.nn_filter(
        magnitudes, aggregate=np.median, metric="cosine", width=lag
    )
    repeating = np.minimum(magnitudes, similar)
    return librosa.util.softmask(magnitudes - repeating, config.vocal_margin * repeating, power=2)
