"""Encoders that were never pretrained: what a table of scores is read against."""

import torch
from torch import nn

from audiossl.errors import UserError
from audiossl.models.log_mel_statistics import LogMelStatistics
from audiossl.pretrained.own import read_seed


def load_log_mel_statistics(place: str) -> LogMelStatistics:
    """Build the encoder that returns log-mel frames and their statistics."""
    if place:
        raise UserError(
            f"log_mel_statistics:{place}: takes nothing after the colon; write log_mel_statistics:"
        )
    return LogMelStatistics()


def load_shuffled(place: str) -> nn.Module:
    """Load any encoder and permute the entries of each of its tensors.

    Every tensor keeps its values, and with them its mean and deviation, and loses all that was
    learnt in their order: the control for encoders whose initialization is not known here.

    Args:
        place: Any encoder, as `load_encoder` names it, and after the last "#" a seed.
    """
    from audiossl.pretrained.load import load_encoder

    source, _, seed = place.rpartition("#") if "#" in place else (place, "", "0")
    encoder = load_encoder(source)
    generator = torch.Generator().manual_seed(read_seed(seed, f"shuffled:{place}"))
    with torch.no_grad():
        for tensor in encoder.state_dict().values():
            if tensor.is_floating_point():
                order = torch.randperm(tensor.numel(), generator=generator)
                tensor.copy_(tensor.flatten()[order.to(tensor.device)].view_as(tensor))
    return encoder
