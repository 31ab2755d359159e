"""Encoders: from waveforms to frames."""
