"""What encoders take besides padded batches: NumPy arrays, one waveform, other sample rates.

`load_encoder` puts this before the forward pass of every encoder, whoever wrote it:

    encoder(waveform)                                  one clip, or a batch of clips of one length
    encoder(waveforms, lengths, sample_rate=44_100)    resampled to the rate of the encoder
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiossl.audio.resampling import resample
from audiossl.errors import UserError
from audiossl.nn.lengths import check_lengths, valid_mask

Samples = np.ndarray | Tensor
Lengths = Tensor | np.ndarray | Sequence[int]


def with_any_input(encoder: nn.Module) -> nn.Module:
    """Let an encoder take whatever `batch_of` takes; batches as it has them pass untouched."""
    if not getattr(encoder, "takes_any_input", False):
        encoder.register_forward_pre_hook(_before, with_kwargs=True)
        encoder.takes_any_input = True  # type: ignore[assignment]
    return encoder


def batch_of(
    waveforms: Samples,
    lengths: Lengths | None = None,
    *,
    sample_rate: int,
    given_rate: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Make a padded batch at an encoder's sample rate, and its lengths.

    Args:
        waveforms: (samples,) or (batch, samples), floating-point numbers in [-1, 1].
        lengths: Valid samples of each, at the rate that is given; None: all.
        sample_rate: Rate that the encoder takes, Hz.
        given_rate: Rate of `waveforms`, Hz; None: the same.

    Raises:
        UserError: They are neither one waveform nor a batch, are integers, or lengths do not fit.
    """
    batch = float_samples(waveforms)
    batch = batch[None] if batch.ndim == 1 else batch
    if batch.ndim != 2:
        raise UserError(
            f"waveforms of shape {tuple(batch.shape)}: give (samples,) or (batch, samples); of "
            "several channels their mean"
        )
    sizes = torch.full((len(batch),), batch.shape[1]) if lengths is None else _counts(lengths)
    sizes = sizes.to(batch.device)
    check_lengths(sizes, len(batch), batch.shape[1])
    if given_rate is None or given_rate == sample_rate:
        return batch, sizes
    # What was padding must be silent before the filter reaches over it.
    batch = torch.where(valid_mask(sizes, batch.shape[1]), batch, 0.0)
    return resample(batch, given_rate, sample_rate), -(-sizes * sample_rate // given_rate)


def float_samples(waveforms: Samples) -> Tensor:
    """Turn samples into a tensor of float32.

    Raises:
        UserError: They are integers, whose full scale is not known.
    """
    samples = torch.from_numpy(waveforms) if isinstance(waveforms, np.ndarray) else waveforms
    if not samples.is_floating_point():
        raise UserError(
            f"waveforms of type {samples.dtype}: give floating-point numbers in [-1, 1] (16-bit "
            "integers divided by 32768)"
        )
    return samples.float() if samples.dtype == torch.float64 else samples


def _counts(lengths: Lengths) -> Tensor:
    return lengths if isinstance(lengths, Tensor) else torch.as_tensor(lengths).long()


def _before(
    encoder: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    if len(arguments) == 2 and not options and all(isinstance(one, Tensor) for one in arguments):
        return None
    named = dict(zip(("waveforms", "lengths"), arguments, strict=False)) | options
    waveforms: Samples = named.pop("waveforms")
    lengths, given_rate = named.pop("lengths", None), named.pop("sample_rate", None)
    if isinstance(waveforms, np.ndarray):
        parameter = next(encoder.parameters(), torch.zeros(()))
        waveforms = float_samples(waveforms).to(parameter.device)
    rate: Any = encoder.sample_rate
    batch = batch_of(waveforms, lengths, sample_rate=rate, given_rate=given_rate)
    return batch, named
