"""Encoders for tests: one that keeps every promise, and one for each way of breaking one."""

import torch
from torch import nn
from torch.nn import functional as F

from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask

HOP = 160


class Windows(nn.Module):
    """A linear map of windows of 10 ms, and its square as a second layer."""

    sample_rate, frame_rate, dim = 16_000, 100.0, 6

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.linear = nn.Linear(HOP, self.dim)

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> Frames:
        waveforms = waveforms * valid_mask(lengths, waveforms.shape[1])
        windows = waveforms[:, : waveforms.shape[1] // HOP * HOP].unflatten(1, (-1, HOP))
        vectors = self.linear(windows)
        return Frames(vectors, lengths // HOP, self.frame_rate, (vectors.square(), vectors))


class PaddingLeaks(Windows):
    """Levels by the whole row, padding included."""

    def forward(self, waveforms, lengths):
        return super().forward(waveforms / waveforms.abs().amax(1, keepdim=True), lengths)


class LengthsRoundUp(Windows):
    def forward(self, waveforms, lengths):
        frames = super().forward(waveforms, lengths)
        lengths = torch.minimum((lengths + HOP - 1) // HOP, torch.tensor(frames.vectors.shape[1]))
        return Frames(frames.vectors, lengths, frames.frame_rate, frames.layers)


class WrongRate(Windows):
    frame_rate = 50.0


class WrongDim(Windows):
    dim = 7

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(HOP, 6)


class DropsOut(Windows):
    def forward(self, waveforms, lengths):
        frames = super().forward(waveforms, lengths)
        dropped = F.dropout(frames.vectors, 0.1, training=True)
        return Frames(dropped, frames.lengths, frames.frame_rate, frames.layers)


class DividesBySilence(Windows):
    def forward(self, waveforms, lengths):
        return super().forward(waveforms / waveforms.abs().amax(1, keepdim=True), lengths)


class Forgets(Windows):
    """Keeps a tensor that is no parameter and no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((), 3.0), persistent=False)
        self.scales = {"hidden": nn.Parameter(torch.tensor(3.0))}

    def forward(self, waveforms, lengths):
        frames = super().forward(waveforms, lengths)
        vectors = frames.vectors * self.scales["hidden"] + self.linear.bias
        return Frames(vectors, frames.lengths, frames.frame_rate, frames.layers)

    def __deepcopy__(self, memo):
        other = Forgets()
        other.scales = {"hidden": torch.tensor(1.0)}
        return other.eval()


class CountsFromTheStart(Windows):
    """Adds where a frame lies in its input, so that chunks disagree."""

    def forward(self, waveforms, lengths):
        frames = super().forward(waveforms, lengths)
        places = torch.arange(frames.vectors.shape[1]) / 100
        signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
        vectors = frames.vectors + (torch.sin(places)[:, None] * signs)
        return Frames(vectors, frames.lengths, frames.frame_rate)


class LosesTime(Windows):
    """Loses a few frames in twenty seconds, and more the longer a file is."""

    def forward(self, waveforms, lengths):
        frames = super().forward(waveforms, lengths)
        kept = int(frames.vectors.shape[1] * 0.9985)
        layers = tuple(layer[:, :kept] for layer in frames.layers)
        lengths = (frames.lengths * 0.9985).long()
        return Frames(frames.vectors[:, :kept], lengths, frames.frame_rate, layers)


class RootOfZero(Windows):
    def forward(self, waveforms, lengths):
        frames = super().forward(waveforms, lengths)
        nothing = (frames.vectors - frames.vectors).sqrt()
        return Frames(frames.vectors + nothing, frames.lengths, frames.frame_rate)


class ShortLayer(Windows):
    def forward(self, waveforms, lengths):
        frames = super().forward(waveforms, lengths)
        return Frames(frames.vectors, frames.lengths, frames.frame_rate, (frames.vectors[:, ::2],))
