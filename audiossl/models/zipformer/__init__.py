"""Zipformer, the encoder of SPEAR (Yao et al., 2024): `model` has stacks, `stack` has layers.

`layer` is the layer of the paper, in the order of its equations; its modules are in files by their
names. What only training does is in `training`, and what makes the same functions fast in
`kernels`.
"""
