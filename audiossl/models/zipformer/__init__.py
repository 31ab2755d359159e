"""Zipformer, an encoder at several frame rates, with the machinery that trains it.

Read `model`, `stack` and `layer` for the network, `plan` for what training does to it, and
`drawing`, `regularizer` and `schedules` for how that is decided.
"""
