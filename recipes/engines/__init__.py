"""Launchers of independent tasks; all give the same results."""
