"""Arithmetic of sound, independent of models."""
