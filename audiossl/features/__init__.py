"""From waveforms to what networks see."""
