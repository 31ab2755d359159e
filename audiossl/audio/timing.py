"""Samples, frames and seconds, in one place, with the rounding stated."""


def num_frames(num_samples: int, window: int, hop_length: int) -> int:
    """Count the whole windows of `window` samples, one every `hop_length`; none is padded."""
    return max(0, 1 + (num_samples - window) // hop_length)


def num_samples_of(seconds: float, sample_rate: int) -> int:
    """Round a duration to the nearest number of samples (halves up, unlike `round`)."""
    return int(seconds * sample_rate + 0.5)
