"""Frames on disk: every frame of every cut with its time, for probes of events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

FRAMES = "frames/"
"""What names of tensors begin with that are of frames."""


@dataclass(frozen=True)
class Track:
    """The frames of one layer over all cuts of a corpus, cut after cut."""

    vectors: Float[np.ndarray, "frames dim"]
    times: Float[np.ndarray, " frames"]
    """Seconds at the center of each frame, in its cut."""
    starts: Int[np.ndarray, " cuts_and_end"]
    """First frame of each cut."""

    def rows(self, cuts: Int[np.ndarray, " items"]) -> list[slice]:
        """Give the frames of each of some cuts."""
        return [slice(int(self.starts[cut]), int(self.starts[cut + 1])) for cut in cuts]


def frame_tensors(
    cuts: Sequence[Mapping[str, Float[Tensor, "_ _"]]], storage: torch.dtype
) -> dict[str, Tensor]:
    """Join the timed frames of cuts to the tensors of a shard.

    Args:
        cuts: Timed frames of each cut by the name of the layer; none of a cut that is left out.
        storage: Number type of vectors.

    Example:
        >>> timed = torch.tensor([[0.5, 3.0, 4.0], [1.5, 5.0, 6.0]])
        >>> shard = frame_tensors([{"output": timed}, {}], torch.float16)
        >>> track = tracks_of([{"rows": torch.tensor([1, 0]), **shard}])["output"]
        >>> track.times.tolist(), track.vectors.shape, track.starts.tolist()
        ([0.5, 1.5], (2, 2), [0, 2, 2])
    """
    names = {name: None for cut in cuts for name in cut}
    tensors = {}
    for name in names:
        parts = [cut[name] for cut in cuts if name in cut]
        timed = torch.cat(parts)
        tensors[f"{FRAMES}{name}"] = timed[:, 1:].to(storage)
        tensors[f"{FRAMES}{name}/times"] = timed[:, 0].double().clone()
        counts = [len(cut[name]) if name in cut else 0 for cut in cuts]
        tensors[f"{FRAMES}{name}/rows"] = torch.tensor(counts)
    return tensors


def tracks_of(shards: Sequence[Mapping[str, Tensor]]) -> dict[str, Track]:
    """Join the frames of shards, in order; a shard of which all was left out has none."""
    known = {name: None for shard in shards for name in shard if name.startswith(FRAMES)}
    tracks = {}
    for name in (name for name in known if not name.endswith(("/times", "/rows"))):
        there = [shard for shard in shards if name in shard]
        counts = [
            shard[f"{name}/rows"] if name in shard else torch.zeros_like(shard["rows"])
            for shard in shards
        ]
        starts = np.concatenate([[0], np.cumsum(torch.cat(counts).numpy())])
        vectors = torch.cat([shard[name] for shard in there]).float().numpy()
        times = torch.cat([shard[f"{name}/times"] for shard in there]).numpy()
        tracks[name.removeprefix(FRAMES)] = Track(vectors, times, starts)
    return tracks
