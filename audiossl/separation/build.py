"""From a config to what separates, or reads what is separated already."""

import torch

from audiossl.separation.decomposition import Decomposition, DecompositionConfig
from audiossl.separation.demucs import DemucsConfig, load_demucs
from audiossl.separation.given import GivenConfig, GivenStems
from audiossl.separation.separator import Separator
from audiossl.separation.spleeter import SpleeterConfig, load_spleeter

SeparatorConfig = DemucsConfig | DecompositionConfig | GivenConfig | SpleeterConfig


def build_separator(
    config: SeparatorConfig, device: torch.device | str = "cpu"
) -> Separator | GivenStems:
    """Make what `config` describes; `GivenStems` reads stems from files, the others estimate them.

    Raises:
        UserError: A package or weights are missing, or a setting makes no sense.
    """
    match config:
        case DemucsConfig():
            return load_demucs(config, device)
        case SpleeterConfig():
            return load_spleeter(config, device)
        case DecompositionConfig():
            return Decomposition(config)
        case GivenConfig():
            return GivenStems(config)
