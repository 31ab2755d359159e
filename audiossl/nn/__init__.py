"""Layers that know no sound."""
