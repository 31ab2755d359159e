"""From the crops of pairs to features, and to frames of the same times."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audiossl.batches import DataFacts, ViewBatch
from audiossl.errors import UserError
from audiossl.methods.distillation import vectors_at
from audiossl.models.encoder import Context, FeatureEncoder
from audiossl.nn.frames import Frames

Features = tuple[Float[Tensor, "rows frames bins"], Int[Tensor, " rows"]]


Pieces = Float[Tensor, "rows samples"] | None


def paired(
    batch: ViewBatch, positives: Float[Tensor, "batch samples"] | None = None
) -> tuple[Float[Tensor, "rows samples"], tuple[Pieces, Pieces]]:
    """Put anchor, positive, anchor, positive, ... into rows, and what may be mixed into each.

    Pairs lie side by side, so that a rank's rows are a run of the whole batch's rows, and draws for
    all rows (stochastic depth) can be shared out.

    Args:
        batch: The pairs.
        positives: What stands in for its positives.

    Example:
        >>> there, numbers = torch.ones(2, dtype=torch.bool), torch.arange(2)
        >>> pairs = ViewBatch(torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1), there, numbers)
        >>> paired(pairs)[0].flatten()
        tensor([1., 0., 2., 0.])
    """
    crops = [batch.anchors, batch.positives if positives is None else positives]
    noise, responses = (
        None if pieces is None else pieces.flatten(0, 1)
        for pieces in (batch.noise, batch.responses)
    )
    return torch.stack(crops, dim=1).flatten(0, 1), (noise, responses)


def crop_features(
    encoder: FeatureEncoder,
    waveforms: Float[Tensor, "rows samples"],
    mixed_in: tuple[Pieces, Pieces],
    data: DataFacts,
    context: Context,
) -> Features:
    """Augment crops, where the data asks for it, and compute their features and counts of frames.

    Args:
        encoder: Whose front end is used.
        waveforms: Crops, with the level of the recording that they are from.
        mixed_in: Noise and impulse responses for each crop.
        data: Facts, with the augmentations.
        context: Without a generator nothing is augmented.
    """
    lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
    augment, generator = data.augmentations, context.generator
    if augment is None or generator is None:
        return encoder.features_of_leveled(waveforms, lengths)
    waveforms = augment.waveforms(waveforms, *mixed_in, generator)
    features, counts = encoder.features_of_leveled(waveforms, lengths)
    return augment.features(features, counts, generator), counts


def at_times_of(
    frames: Frames, other: Frames, seconds: Float[Tensor, " batch"]
) -> tuple[Float[Tensor, "batch frames dim"], Bool[Tensor, "batch frames"]]:
    """Interpolate the frames of one crop of each pair at the times of those of the other.

    Args:
        frames: What is interpolated.
        other: Whose times are taken.
        seconds: From the start of a crop of `frames` to that of `other`.

    Returns:
        A vector for each frame of the other, and whether both crops have one at its time.

    Raises:
        UserError: Crops are so short that no two of their frames could be of one time.
    """
    if frames.vectors.shape[1] < 2:
        raise UserError(
            "crops are shorter than two frames of the encoder: give a larger views.crop_samples"
        )
    times = other.times + seconds[:, None].double()
    last = frames.times[(frames.lengths - 1).clamp(min=0)][:, None]
    inside = (times >= frames.times[0] - 1e-6) & (times <= last + 1e-6)
    places = torch.arange(times.shape[1], device=times.device)
    return vectors_at(frames, times), inside & (places < other.lengths[:, None])


def check_overlap(data: DataFacts, method: str) -> None:
    """Refuse pairs whose crops need not have anything in common.

    Raises:
        UserError: They need not.
    """
    if not data.overlap:
        raise UserError(
            f"method {method} compares frames of the same time, and crops of a pair need not "
            "overlap: set views.overlap, to 0.5 say"
        )


def offsets_of(batch: ViewBatch, rate: int) -> Float[Tensor, " batch"]:
    """Compute the seconds from the start of each anchor to that of its positive.

    Raises:
        UserError: The batch does not say.
    """
    if batch.offsets is None:
        raise UserError("the batch has no offsets of its crops: it is not of audiossl.data.views")
    return batch.offsets / rate
