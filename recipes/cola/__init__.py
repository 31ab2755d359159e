"""COLA: two crops of one recording belong together (see recipes/cola/README.md)."""
