"""Manifests, order and batches; the only package that imports lhotse."""
