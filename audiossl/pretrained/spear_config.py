"""SPEAR's public config.json, and what shapes of tensors tell where there is none."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from audiossl.errors import UserError
from audiossl.models.zipformer.config import PRESETS, ZipformerConfig

POSITION_QUERY = 4
"""Dimension of position queries of a head, in public networks; shapes alone do not tell it."""


def config_from_public(content: Mapping[str, Any], source: str) -> ZipformerConfig:
    """Translate a public config.json.

    Args:
        content: What is in it; values of stacks are numbers, or strings like "1,2,4".
        source: Where it is from, for messages.

    Raises:
        UserError: Something is missing, or asks for what this encoder cannot be.
    """
    if content.get("causal", False) not in (False, "false", "False"):
        raise UserError(f"{source}: causal networks (streaming) are not supported")
    layers = _numbers(content, "num_encoder_layers", source)
    dim = _one(content, "encoder_dim", source)
    return ZipformerConfig(
        dim=dim,
        feed_forward_dim=_one(content, "feedforward_dim", source),
        num_layers=layers,
        strides=_numbers(content, "downsampling_factor", source),
        kernel_sizes=_numbers(content, "cnn_module_kernel", source),
        num_heads=_one(content, "num_heads", source),
        query_dim=_one(content, "query_head_dim", source, 32),
        position_query_dim=_one(content, "pos_head_dim", source, POSITION_QUERY),
        value_dim=_one(content, "value_head_dim", source, 12),
        position_dim=_one(content, "pos_dim", source, 48),
        num_bins=_one(content, "num_mel_bins", source, 128),
        output_stride=_one(content, "output_downsampling_factor", source, 1),
        unmasked_dim=_one(content, "encoder_unmasked_dim", source, dim // 2),
    )


def public_config(config: ZipformerConfig) -> dict[str, Any]:
    """Translate to the public config.json."""
    stacks = len(config.num_layers)

    def spread(value: int) -> str:
        return ",".join([str(value)] * stacks)

    def listed(values: tuple[int, ...]) -> str:
        return ",".join(map(str, values))

    return {
        "model_type": "spear",
        "num_mel_bins": config.num_bins,
        "pos_dim": config.position_dim,
        "output_downsampling_factor": config.output_stride,
        "downsampling_factor": listed(config.strides),
        "num_encoder_layers": listed(config.num_layers),
        "feedforward_dim": spread(config.feed_forward_dim),
        "encoder_dim": spread(config.dim),
        "encoder_unmasked_dim": spread(config.unmasked_dim),
        "cnn_module_kernel": listed(config.kernel_sizes),
        "num_heads": spread(config.num_heads),
        "query_head_dim": str(config.query_dim),
        "pos_head_dim": str(config.position_query_dim),
        "value_head_dim": str(config.value_dim),
        "causal": False,
        "chunk_size": "8",
        "left_context_frames": "128",
    }


def config_from_shapes(weights: Mapping[str, Tensor], source: str) -> ZipformerConfig:
    """Find out which network weights belong to.

    Where all but the number of layers is that of a public size, it is that size: a layer that is
    missing is then missed. The dimension of position queries is taken to be 4.

    Args:
        weights: Tensors by name.
        source: Where they are from, for messages.

    Raises:
        UserError: A tensor that tells is missing, or shapes contradict each other.
    """
    inferred = _found(weights, source)
    for size in PRESETS.values():
        if _is_part_of(inferred, size):
            return replace(size, output_stride=inferred.output_stride)
    return inferred


def _is_part_of(inferred: ZipformerConfig, size: ZipformerConfig) -> bool:
    """Whether a network has nothing that one of a public size has not."""
    stacks = len(inferred.num_layers)
    begun = replace(
        size,
        num_layers=inferred.num_layers,
        strides=size.strides[:stacks],
        kernel_sizes=size.kernel_sizes[:stacks],
        output_stride=inferred.output_stride,
    )
    counts = zip(inferred.num_layers, size.num_layers, strict=False)
    return inferred == begun and all(here <= there for here, there in counts)


def _found(weights: Mapping[str, Tensor], source: str) -> ZipformerConfig:
    def shape(name: str) -> tuple[int, ...]:
        if name not in weights:
            raise UserError(
                f"{source}: no tensor {name} among {len(weights)}: not SPEAR's encoder, or a part"
            )
        return tuple(weights[name].shape)

    def stride(stack: int) -> int:
        name = f"encoder.encoders.{stack}.downsample.bias"
        return shape(name)[0] if name in weights else 1

    stacks = _stacks(weights, source)
    firsts = [layers[0] for layers in stacks]
    heads = max(1, shape(f"{firsts[0]}.self_attn_weights.linear_pos.weight")[0] // POSITION_QUERY)
    projected = shape(f"{firsts[0]}.self_attn_weights.in_proj.weight")[0]
    dim, flattened = shape("encoder_embed.out.weight")
    channels = shape("encoder_embed.convnext.depthwise_conv.weight")[0]
    kernel = "conv_module1.depthwise_conv.weight"
    return ZipformerConfig(
        dim=dim,
        feed_forward_dim=shape(f"{firsts[0]}.feed_forward2.in_proj.weight")[0],
        num_layers=tuple(len(layers) for layers in stacks),
        strides=tuple(stride(stack) for stack in range(len(stacks))),
        kernel_sizes=tuple(shape(f"{first}.{kernel}")[-1] for first in firsts),
        num_heads=heads,
        query_dim=(projected // heads - POSITION_QUERY) // 2,
        value_dim=shape(f"{firsts[0]}.self_attn1.in_proj.weight")[0] // heads,
        position_dim=shape(f"{firsts[0]}.self_attn_weights.linear_pos.weight")[1],
        # The front end leaves a fourth of the bins, less one.
        num_bins=4 * (flattened // channels) + 4,
        output_stride=2 if "encoder.downsample_output.bias" in weights else 1,
        unmasked_dim=dim // 2,
    )


def _stacks(weights: Mapping[str, Tensor], source: str) -> list[list[str]]:
    """Names of the layers of each stack; one that is missing between others is named too."""
    # Three digits at most: a number of ten is a damaged name, and no network of so many layers.
    pattern = re.compile(r"(encoder\.encoders\.(\d{1,3})\.(?:encoder\.)?layers)\.(\d{1,3})\.")
    matches = [match for match in map(pattern.match, weights) if match]
    if not matches:
        raise UserError(f"{source}: no layers among {len(weights)} tensors: not SPEAR's encoder")
    names = {int(match[2]): match[1] for match in matches}
    counts = {stack: 1 + max(int(m[3]) for m in matches if int(m[2]) == stack) for stack in names}
    absent = sorted(set(range(max(names))) - names.keys())
    if absent:
        raise UserError(f"{source}: no tensor of stack {absent[0]} in it, but of later ones")
    return [[f"{names[s]}.{layer}" for layer in range(counts[s])] for s in sorted(names)]


def _numbers(content: Mapping[str, Any], key: str, source: str) -> tuple[int, ...]:
    if key not in content:
        raise UserError(f"{source}: no {key!r} in it: not the config of a SPEAR encoder")
    value = content[key]
    parts = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(int(part) for part in (parts if isinstance(parts, list) else [parts]))
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: {key} is {value!r}, expected numbers like 1,2,4") from error


def _one(content: Mapping[str, Any], key: str, source: str, default: int | None = None) -> int:
    """Read a number that all stacks have in common."""
    if key not in content and default is not None:
        return default
    values = set(_numbers(content, key, source))
    if len(values) != 1:
        raise UserError(
            f"{source}: {key} is {content[key]!r}; stacks that differ are not supported"
        )
    return values.pop()
