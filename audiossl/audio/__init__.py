"""Arithmetic of sound; knows no model."""
