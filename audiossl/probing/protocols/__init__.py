"""Public protocols of evaluation, a file each, to be read beside its paper."""
