"""Weights and features by formula, for which the authors' network gave the numbers in the tests."""

import math

import torch


def fill(network):
    """Give every tensor values that depend on the place of its name among all names."""
    state = network.state_dict()
    for place, name in enumerate(sorted(state), start=1):
        index = torch.arange(1, state[name].numel() + 1, dtype=torch.float64)
        noise = torch.sin(12.9898 * index + 78.233 * place) * 43758.5453
        uniform = 2.0 * (noise - noise.floor()) - 1.0
        state[name].copy_(_scaled(name, uniform.view(state[name].shape)))
    return network.eval()


def features():
    """Two sequences of 120 and 90 frames."""
    sequence = torch.arange(2, dtype=torch.float64)[:, None, None]
    time = torch.arange(120, dtype=torch.float64)[:, None]
    band = torch.arange(128, dtype=torch.float64)
    slow = 3.0 * torch.sin(0.11 * time + 0.05 * band + sequence)
    fast = 2.0 * torch.cos(0.013 * time * (band + 1) / 16 + 0.7 * sequence)
    return (-6.0 + slow + fast).float(), torch.tensor([120, 90])


def _scaled(name, uniform):
    if name.endswith("bypass_scale"):
        return 0.5 + 0.3 * uniform
    if name.endswith("log_scale"):
        return 0.3 * uniform
    if name.endswith("norm.bias"):
        return 0.2 * uniform
    if name.endswith(("downsample.bias", "downsample_output.bias")):
        return uniform
    if uniform.ndim == 1:
        return 0.1 * uniform
    return uniform * math.sqrt(3.0 / (uniform.numel() / len(uniform)))
