"""BEATs and OpenBEATs: a Transformer over 16 x 16 patches of a filter bank.

Conventions. 128 mel bins of 16-bit samples, standardized by the mean and twice the deviation of the
training set; rests of less than a patch are left out. Patches of one time are averaged over
frequency: a frame every 160 ms, 6.25 Hz. Layers are counted from 1 and taken as they leave the
block, behind its own norm where norms stand behind (as in all public models); the network's own
output is that of the last block, there. Clip vectors are means over all patches.

Chen et al., "BEATs: Audio pre-training with acoustic tokenizers" (2023); names of tensors are those
of the authors, and of ESPnet for OpenBEATs (Bharadwaj et al. 2025).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audiossl.atomic_files import reading
from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.pickled_arrays import SETTINGS
from audiossl.nn.weights import load_exactly, read_weights
from audiossl.teachers.kaldi import filter_bank, num_frames
from audiossl.teachers.layers import first_layers, own_state
from audiossl.teachers.teacher import FrozenTeacher

BINS = 128
MEAN, DEVIATION = 15.41663, 6.55582
"""Of the filter bank of AudioSet, as the authors have it."""


@dataclass(frozen=True)
class BeatsShape:
    """What differs between models."""

    dim: int
    embed_dim: int
    """Dimension of a patch, before it is projected."""
    feed_forward_dim: int
    num_layers: int
    num_heads: int
    patch: int
    positions: tuple[int, int]
    """Width and groups of the convolution that tells positions."""
    num_buckets: int
    """Number of buckets of relative positions; 0: none are used."""
    max_distance: int = 800
    pre_norm: bool = False
    deep_norm: bool = False
    gated: bool = True
    """Whether each query weighs what relative positions add."""
    mean: float = MEAN
    deviation: float = DEVIATION


def load(place: str, layer: int | None = None) -> "BeatsTeacher":
    """Load a checkpoint.

    Args:
        place: The file, {"cfg": settings, "model": tensors by name}; heads are left out.
        layer: Which layer is `vectors`, from 1; None is the network's own output.

    Raises:
        UserError: The file is missing, would run code, or holds no BEATs; there is no such layer.
    """
    dump = read_weights(Path(place), SETTINGS)
    if not isinstance(dump, dict) or not isinstance(dump.get("cfg"), Mapping):
        raise UserError(f'{place}: no BEATs: expected {{"cfg": settings, "model": tensors}}')
    content = dump["model"] if isinstance(dump.get("model"), Mapping) else {}
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    # ESPnet's models have the encoder below a name, beside a head.
    prefixes = ["encoder."] if "encoder.patch_embedding.weight" in tensors else []
    state = {
        name: value
        for name, value in own_state(tensors, *prefixes).items()
        if name.startswith(("encoder.", "layer_norm.", "post_extract_proj.", "patch_embedding."))
        and ("relative_attention_bias" not in name or ".layers.0." in name)
    }
    with reading(Path(place), "checkpoint of BEATs"):
        teacher = BeatsTeacher(_shape(state, dump["cfg"], place))
    load_exactly(teacher, state, place)
    return teacher.keep_layers(layer)


class BeatsTeacher(FrozenTeacher):
    """BEATs' encoder."""

    def __init__(self, shape: BeatsShape) -> None:
        super().__init__()
        self.shape = shape
        self.sample_rate, self.dim = 16000, shape.dim
        self.frame_rate = 100.0 / shape.patch
        self.patch_embedding = nn.Conv2d(1, shape.embed_dim, shape.patch, shape.patch, bias=False)
        self.layer_norm = nn.LayerNorm(shape.embed_dim)
        if shape.embed_dim != shape.dim:
            self.post_extract_proj: nn.Module = nn.Linear(shape.embed_dim, shape.dim)
        else:
            self.post_extract_proj = nn.Identity()
        self.encoder = _Transformer(shape)
        self.keep_layers(None)
        self.eval().requires_grad_(False)

    def keep_layers(self, layer: int | None) -> "BeatsTeacher":
        """Make one layer `vectors` and drop those above it; None keeps all, and the own output.

        Raises:
            UserError: There is no such layer.
        """
        self.layer = layer
        self.encoder.layers = first_layers(self.encoder.layers, layer, "beats")
        where = f"layer {layer}" if layer else f"output of {len(self.encoder.layers)} layers"
        self.convention = (
            f"beats {where}, mean over frequency; filter bank of 16-bit samples, minus "
            f"{self.shape.mean:g}, over {2 * self.shape.deviation:g}"
        )
        return self

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        shape = self.shape
        bank = filter_bank(waveforms, lengths, num_bins=BINS, scale=2.0**15)
        bank = (bank - shape.mean) / (2 * shape.deviation)
        bank = F.pad(bank, (0, 0, 0, max(0, shape.patch - bank.shape[1])))
        counts = num_frames(lengths) // shape.patch
        patches = self.patch_embedding(bank[:, None])  # batch, dim, times, bands
        times, bands = patches.shape[2:]
        hidden = self.layer_norm(patches.flatten(2).transpose(1, 2))
        # A row without a frame goes through the network like others, and is not valid.
        valid = valid_mask(counts.clamp(min=1), times).repeat_interleave(bands, dim=1)
        layers, final = self.encoder(self.post_extract_proj(hidden), valid)
        means = [one.unflatten(1, (times, bands)).mean(dim=2) for one in (*layers, final)]
        return Frames(
            vectors=means[-1] if self.layer is None else means[-2],
            lengths=counts,
            frame_rate=self.frame_rate,
            layers=tuple(means[:-1]),
        )


class _Transformer(nn.Module):
    """Positions by a convolution, then blocks whose attention knows relative positions."""

    def __init__(self, shape: BeatsShape) -> None:
        super().__init__()
        width, groups = shape.positions
        convolution = nn.Conv1d(shape.dim, shape.dim, width, padding=width // 2, groups=groups)
        self.pos_conv = nn.Sequential(nn.utils.parametrizations.weight_norm(convolution, dim=2))
        self.layers = nn.ModuleList(_Block(shape) for _ in range(shape.num_layers))
        if shape.num_buckets:
            bias = nn.Embedding(shape.num_buckets, shape.num_heads)
            self.layers[0].self_attn.relative_attention_bias = bias  # type: ignore[union-attr]
        self.layer_norm = nn.LayerNorm(shape.dim)
        self.shape = shape

    def forward(
        self, hidden: Float[Tensor, "batch patches dim"], valid: Bool[Tensor, "batch patches"]
    ) -> tuple[list[Tensor], Tensor]:
        count = hidden.shape[1]
        hidden = hidden.masked_fill(~valid[..., None], 0.0)
        positions = self.pos_conv(hidden.transpose(1, 2))[..., :count]
        hidden = hidden + F.gelu(positions).transpose(1, 2)
        if not self.shape.pre_norm:
            hidden = self.layer_norm(hidden)
        first: Any = self.layers[0]
        bias = None
        if self.shape.num_buckets:
            places = torch.arange(count, device=hidden.device)
            buckets = self._buckets(places - places[:, None])
            bias = first.self_attn.relative_attention_bias(buckets).permute(2, 0, 1)
        mask = torch.zeros_like(hidden[..., 0]).masked_fill(~valid, -torch.inf)[:, None, None]
        layers = []
        for block in self.layers:
            hidden = block(hidden, mask, bias)
            layers.append(hidden)
        return layers, self.layer_norm(hidden) if self.shape.pre_norm else hidden

    def _buckets(self, distances: Int[Tensor, "queries keys"]) -> Int[Tensor, "queries keys"]:
        """Number relative positions: near ones each, far ones by their logarithm."""
        half = self.shape.num_buckets // 2
        exact, size = half // 2, distances.abs()
        far = (size.clamp(min=1) / exact).log() / math.log(self.shape.max_distance / exact)
        far = (exact + (far * (half - exact)).long()).clamp(max=half - 1)
        return torch.where(size < exact, size, far) + half * (distances > 0)


class _Block(nn.Module):
    def __init__(self, shape: BeatsShape) -> None:
        super().__init__()
        self.self_attn = _Attention(shape)
        self.self_attn_layer_norm = nn.LayerNorm(shape.dim)
        self.fc1 = nn.Linear(shape.dim, shape.feed_forward_dim)
        self.fc2 = nn.Linear(shape.feed_forward_dim, shape.dim)
        self.final_layer_norm = nn.LayerNorm(shape.dim)
        self.pre_norm = shape.pre_norm
        # Wang et al. 2022, arXiv 2203.00555.
        self.alpha = (2 * shape.num_layers) ** 0.25 if shape.deep_norm else 1.0

    def forward(
        self,
        hidden: Float[Tensor, "batch patches dim"],
        mask: Float[Tensor, "batch 1 1 patches"],
        bias: Float[Tensor, "heads patches patches"] | None,
    ) -> Float[Tensor, "batch patches dim"]:
        if self.pre_norm:
            hidden = hidden + self.self_attn(self.self_attn_layer_norm(hidden), mask, bias)
            return hidden + self.fc2(F.gelu(self.fc1(self.final_layer_norm(hidden))))
        attended = self.self_attn(hidden, mask, bias)
        hidden = self.self_attn_layer_norm(self.alpha * hidden + attended)
        return self.final_layer_norm(self.alpha * hidden + self.fc2(F.gelu(self.fc1(hidden))))


class _Attention(nn.Module):
    """Attention to which relative positions add, as much as each query wants."""

    def __init__(self, shape: BeatsShape) -> None:
        super().__init__()
        self.num_heads, size = shape.num_heads, shape.dim // shape.num_heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (
            nn.Linear(shape.dim, shape.dim) for _ in range(4)
        )
        self.gated = shape.gated
        if shape.gated:
            self.grep_linear = nn.Linear(size, 8)
            self.grep_a = nn.Parameter(torch.ones(1, shape.num_heads, 1, 1))

    def forward(
        self,
        hidden: Float[Tensor, "batch patches dim"],
        mask: Float[Tensor, "batch 1 1 patches"],
        bias: Float[Tensor, "heads patches patches"] | None,
    ) -> Float[Tensor, "batch patches dim"]:
        queries, keys, values = (
            projection(hidden).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        if bias is not None:
            added = bias[None]
            if self.gated:
                gates = self.grep_linear(queries).unflatten(3, (2, 4)).sum(dim=4).sigmoid()
                update, reset = gates.chunk(2, dim=3)
                added = (update * (reset * self.grep_a - 1.0) + 2.0) * added
            mask = mask + added
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


def _shape(state: Mapping[str, Tensor], settings: Mapping[str, Any], source: str) -> BeatsShape:
    try:
        patches, first = state["patch_embedding.weight"], "encoder.layers.0."
        positions = state["encoder.pos_conv.0.parametrizations.weight.original1"]
        feed_forward = state[f"{first}fc1.weight"]
    except KeyError as error:
        raise UserError(f"{source}: no BEATs: it has no {error.args[0]}") from error
    if (activation := settings.get("activation_fn", "gelu")) != "gelu":
        raise UserError(f"{source}: a BEATs with activation {activation!r}; only gelu is known")
    bias = state.get(f"{first}self_attn.relative_attention_bias.weight")
    numbers = {name.split(".")[2] for name in state if name.startswith("encoder.layers.")}
    dim = feed_forward.shape[1]
    return BeatsShape(
        dim=dim,
        embed_dim=len(patches),
        feed_forward_dim=len(feed_forward),
        num_layers=len(numbers),
        num_heads=int(settings.get("encoder_attention_heads", max(1, dim // 64))),
        patch=patches.shape[2],
        positions=(positions.shape[2], len(positions) // positions.shape[1]),
        num_buckets=0 if bias is None else len(bias),
        max_distance=int(settings.get("max_distance", 800)),
        pre_norm=bool(settings.get("layer_norm_first", False)),
        deep_norm=bool(settings.get("deep_norm", False)),
        gated=f"{first}self_attn.grep_a" in state,
        mean=float(settings.get("fbank_mean", MEAN)),
        deviation=float(settings.get("fbank_std", DEVIATION)),
    )
