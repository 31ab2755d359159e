"""Typed batches of data, and facts about them, for methods."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from audiossl.errors import UserError

AnyBatch = TypeVar("AnyBatch")
DOMAINS = ("speech", "audio")
"""Names of what cuts are of, and of the teachers at home in it; batches hold their numbers."""


@dataclass(frozen=True)
class Target:
    """The codes that a frozen teacher gives to cuts."""

    num_codebooks: int
    codebook_size: int
    frame_rate: float
    """Codes a second."""


@dataclass(frozen=True, kw_only=True)
class TeacherFacts:
    """The shape of what a teacher gives, and where its frames lie in time."""

    dim: int
    clip_dim: int
    """Dimension of the teacher's own clip vector; 0 if it has none."""
    frame_rate: float
    """Frames a second."""
    first_time: float
    """Seconds at the center of the first frame."""


@runtime_checkable
class Augments(Protocol):
    """Changes of crops, and of their features."""

    def waveforms(
        self,
        waveforms: Float[Tensor, "rows samples"],
        noise: Float[Tensor, "rows samples"] | None,
        responses: Float[Tensor, "rows taps"] | None,
        generator: torch.Generator,
    ) -> Float[Tensor, "rows samples"]:
        """Change crops."""
        ...

    def features(
        self,
        features: Float[Tensor, "rows frames bins"],
        lengths: Int[Tensor, " rows"],
        generator: torch.Generator,
    ) -> Float[Tensor, "rows frames bins"]:
        """Change features of crops."""
        ...


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Facts of the data that a method is trained on, the same in all batches."""

    seconds_per_step: float = 0.0
    """Audio that is encoded in a step, over all ranks: what schedules of encoders count."""
    targets: Mapping[str, Target] = field(default_factory=dict)
    """Codes by name of the teacher's domain."""
    domains: tuple[str, ...] = ()
    """Names of the domains of crops, by their number."""
    teachers: Mapping[str, nn.Module] = field(default_factory=dict)
    """Frozen networks from waveforms to Frames that crops are given to, by name."""
    stored: Mapping[str, TeacherFacts] = field(default_factory=dict)
    """Facts of teachers whose targets come with the batches, by name."""
    stems: tuple[str, ...] = ()
    """Names of the stems that come with the mixtures."""
    num_items: int = 0
    """Number of items (segments) that batches are drawn from; 0 where it is not known."""
    prior_dim: int = 0
    """Dimension of `ViewBatch.priors`; 0 if there are none."""
    overlap: float = 0.0
    """Least share of a crop that both crops of a pair have in common."""
    augmentations: Augments | None = None
    """Changes of crops that methods of pairs make on the device; None: none."""


@dataclass(frozen=True)
class WaveformBatch:
    """Cuts, or crops of them, and nothing else."""

    waveforms: Float[Tensor, "batch samples"]
    """Padded with zeros at the end."""
    lengths: Int[Tensor, " batch"]
    """Valid samples."""


@dataclass(frozen=True)
class ViewBatch:
    """Pairs of crops that belong together, as waveforms."""

    anchors: Float[Tensor, "batch samples"]
    """Crops of recordings (mixtures, in music)."""
    positives: Float[Tensor, "batch samples"]
    """Crops of the same recordings, or of one of their stems."""
    active: Bool[Tensor, " batch"]
    """Whether the positive's source sounds in its segment; False stands for a null input."""
    recordings: Int[Tensor, " batch"]
    """Number of the recording of each pair, to leave out negatives from the same one."""
    source: str = "mixture"
    """Name of the source of all positives; "mixture" for crops of the recording itself."""
    priors: Float[Tensor, "batch prior_dim"] | None = None
    """Prior vector of each pair: columns of the manifest, tags, vectors of another model."""
    noise: Float[Tensor, "batch two samples"] | None = None
    """Noise that augmentations may add to each anchor and positive."""
    responses: Float[Tensor, "batch two samples"] | None = None
    """Impulse responses of rooms for each anchor and positive."""
    offsets: Int[Tensor, " batch"] | None = None
    """Samples from the start of each anchor to that of its positive, in their recording."""


@dataclass(frozen=True)
class CodeBatch:
    """Cuts with codes of frozen teachers, by name of the teacher's domain."""

    waveforms: Float[Tensor, "batch samples"]
    """Padded with zeros at the end."""
    lengths: Int[Tensor, " batch"]
    """Valid samples."""
    domains: Int[Tensor, " batch"]
    """0 for speech, 1 for other audio."""
    codes: dict[str, Int[Tensor, "batch _ _"]]
    """Entries (batch, frames, codebooks), at each quantizer's rate; -100 where there is none."""
    noise: Float[Tensor, "batch samples"] | None = None
    """Waveforms to mix in, one a cut, as long as those of the batch."""


@dataclass(frozen=True)
class LabelBatch:
    """Cuts with what their labels say."""

    waveforms: Float[Tensor, "batch samples"]
    """Padded with zeros at the end."""
    lengths: Int[Tensor, " batch"]
    """Valid samples."""
    targets: Shaped[Tensor, "batch *most"]
    """Classes by number (batch, kinds); tags (batch, tags), 1 where one is true; symbols by number
    from 1 (batch, most); or segments (batch, most, 3) of begin, end and class. Padded with 0."""
    counts: Int[Tensor, " batch"]
    """Valid targets of each cut; -1 where it has no label."""


@dataclass(frozen=True)
class LayerBatch:
    """Frames of every layer of a frozen encoder, with what the labels of cuts say."""

    layers: Float[Tensor, "batch layers frames dim"]
    """Padded with zeros at the end."""
    lengths: Int[Tensor, " batch"]
    """Valid frames."""
    first_time: float
    """Seconds at the center of the first frame."""
    frame_rate: float
    """Frames a second."""
    targets: Shaped[Tensor, "batch *most"]
    """Those of a `LabelBatch`."""
    counts: Int[Tensor, " batch"]
    """Valid targets of each cut."""


@dataclass(frozen=True)
class CropBatch:
    """Crops of cuts of several domains, with stored targets or without: teachers make them."""

    waveforms: Float[Tensor, "batch samples"]
    """Padded with zeros at the end."""
    lengths: Int[Tensor, " batch"]
    """Valid samples."""
    domains: Int[Tensor, " batch"]
    """Number of each crop's domain, in the order of the method's."""
    offsets: Float[Tensor, " batch"] | None = None
    """Seconds from the start of the excerpts whose targets these are to that of the crops."""
    frames: dict[str, Float[Tensor, "batch _ _"]] = field(default_factory=dict)
    """Stored frames of each crop's excerpt, by name of the teacher."""
    frame_counts: dict[str, Int[Tensor, " batch"]] = field(default_factory=dict)
    """Valid ones of these; 0 where a crop has no targets of the teacher."""
    clips: dict[str, Float[Tensor, "batch _"]] = field(default_factory=dict)
    """Stored clip vectors of each crop's excerpt, of the teachers that have their own."""


@dataclass(frozen=True)
class StemBatch:
    """Crops of mixtures, with the same crop of each of their stems."""

    waveforms: Float[Tensor, "batch samples"]
    """Mixtures, padded with zeros at the end."""
    lengths: Int[Tensor, " batch"]
    """Valid samples."""
    stems: Float[Tensor, "batch stems samples"]
    """Zeros where a recording has no such stem."""
    recordings: Int[Tensor, " batch"]
    """Number of the recording of each crop, to leave out negatives from the same one."""


@dataclass(frozen=True)
class PairBatch:
    """Clips in several modalities, by name of the modality."""

    modalities: dict[str, Shaped[Tensor, "batch _ *dims"]]
    """Float frames (batch, frames, dim), or int tokens (batch, tokens); zeros in the padding."""
    lengths: dict[str, Int[Tensor, " batch"]]
    """Valid frames or tokens."""
    concepts: Int[Tensor, " batch"]
    """Number of each clip's concept; clips of one concept are no negatives of each other."""


def to_device(batch: AnyBatch, device: torch.device) -> AnyBatch:
    """Copy the tensors of a batch, which is a dataclass, to `device`."""
    return _mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))


def micro_batches(batch: AnyBatch, count: int) -> list[AnyBatch]:
    """Split the rows of a batch into `count` equal parts; what is no tensor goes with each.

    Raises:
        UserError: Its rows cannot be shared evenly.
    """
    if count == 1:
        return [batch]
    return [_mapped(batch, partial(_chunk, count=count, index=i)) for i in range(count)]


def _chunk(tensor: Tensor, count: int, index: int) -> Tensor:
    if len(tensor) % count:
        raise UserError(
            f"a batch of {len(tensor)} cuts cannot be split into {count} equal parts: let batch "
            "sizes be multiples of ranks x loop.accumulate (plan.multiple, or batch_size)"
        )
    return tensor.chunk(count)[index]


def _mapped(batch: AnyBatch, change: Callable[[Tensor], Tensor]) -> AnyBatch:
    """Change every tensor of a batch, those in dicts too."""
    changed: dict[str, Any] = {}
    for entry in fields(batch):  # type: ignore[arg-type]
        value = getattr(batch, entry.name)
        if isinstance(value, Tensor):
            changed[entry.name] = change(value)
        elif isinstance(value, dict):
            changed[entry.name] = {name: change(tensor) for name, tensor in value.items()}
    return replace(batch, **changed)  # type: ignore[type-var]
