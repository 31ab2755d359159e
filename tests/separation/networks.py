"""Small Demucs networks with random weights, for the tests and benchmarks of this folder."""

import warnings
from fractions import Fraction

import torch
from demucs.htdemucs import HTDemucs

SOURCES = ["drums", "bass", "other", "vocals"]


def small_htdemucs(seed=0, segment=Fraction(3, 2), channels=8, **options):
    """The real architecture, transformer and all, with few channels and a window of 1.5 s."""
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the initialization of so few channels
        return HTDemucs(
            SOURCES,
            channels=channels,
            depth=4,
            bottom_channels=32,
            t_layers=1,
            t_heads=2,
            segment=segment,
            **options,
        ).eval()


def package(network):
    """What demucs writes into a .th file."""
    arguments, options = network._init_args_kwargs
    return {
        "klass": type(network),
        "args": arguments,
        "kwargs": options,
        "state": network.state_dict(),
        "training_args": {"epochs": 360},
    }
