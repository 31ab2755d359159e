"""Layers independent of audio."""
