"""Frozen networks that supply targets."""
