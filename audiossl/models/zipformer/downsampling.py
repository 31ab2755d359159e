"""Fewer frames and back: a learned average of neighbors, and repetition."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.nn.graphs import for_any_length
from audiossl.nn.lengths import valid_mask


class Downsample(nn.Module):
    """Average every `stride` frames with weights softmax(bias), alike for all channels."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(stride))

    def forward(
        self, frames: Float[Tensor, "batch frames dim"], ends: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch fewer dim"]:
        """Average neighbors; the last frame is repeated to fill the last group.

        Args:
            frames: Any number of frames.
            ends: Where given, what counts as the last frame of each sequence is the one before
                this index; otherwise the last frame of the batch.
        """
        if ends is not None:
            frames = with_last_repeated(frames, ends)
        stride = len(self.bias)
        count = (frames.shape[1] + stride - 1) // stride
        if for_any_length():  # nobody can say there how many are missing
            index = torch.arange(count * stride, device=frames.device)
            frames = frames[:, index.clamp(max=frames.shape[1] - 1)]
        else:
            missing = count * stride - frames.shape[1]
            frames = torch.cat([frames, frames[:, -1:].expand(-1, missing, -1)], dim=1)
        weights = self.bias.softmax(dim=0).to(frames.dtype)
        return (frames.unflatten(1, (count, stride)) * weights[:, None]).sum(dim=2)


def upsample(
    frames: Float[Tensor, "batch frames dim"], stride: int, length: int
) -> Float[Tensor, "batch length dim"]:
    """Repeat each frame `stride` times, and keep the first `length`.

    Example:
        >>> upsample(torch.tensor([[[1.0], [2.0]]]), stride=2, length=3).flatten()
        tensor([1., 1., 2.])
    """
    if for_any_length():
        return frames[:, torch.arange(length, device=frames.device) // stride]
    return frames.repeat_interleave(stride, dim=1)[:, :length]


def with_last_repeated(
    frames: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch frames dim"]:
    """Put the last valid frame of each sequence in the place of its padding."""
    index = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, frames.shape[2])
    valid = valid_mask(lengths, frames.shape[1])[..., None]
    return torch.where(valid, frames, frames.gather(1, index))
