"""Probes on frozen encoders: embed, fit, report (see recipes/probe/README.md)."""
