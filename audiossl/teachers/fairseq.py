"""fairseq's checkpoints of wav2vec 2.0, HuBERT, data2vec and WavLM, without fairseq.

Such a `.pt` holds settings as objects of fairseq, omegaconf or argparse beside the weights. These
are replaced by inert ones that only hold values; a file that names anything else is refused, and
nothing in it is ever run. The networks are those of transformers, whose shapes are read off the
weights; settings say what shapes do not (heads, where norms stand, whether waveforms are
standardized). Conventions are those of `huggingface.py`.

Names of tensors: `fairseq.models.wav2vec.wav2vec2` and the WavLM repository.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

from audiossl.atomic_files import reading
from audiossl.errors import UserError
from audiossl.nn.pickled_arrays import SETTINGS, Inert
from audiossl.nn.weights import load_exactly, read_weights
from audiossl.teachers.huggingface import Wav2Vec2Teacher
from audiossl.teachers.layers import own_state
from audiossl.teachers.wav2vec2 import read_normalize

PREFIXES = ("w2v_encoder.w2v_model.", "w2v_model.", "encoder.w2v_model.", "model.")
"""Before the names of a network with a head that was fine-tuned."""
TENSORS = {
    r"post_extract_proj\.": "feature_projection.projection.",
    r"layer_norm\.": "feature_projection.layer_norm.",
    r"mask_emb$": "masked_spec_embed",
    r"feature_extractor\.conv_layers\.(\d+)\.0\.": r"feature_extractor.conv_layers.\1.conv.",
    r"feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?": (
        r"feature_extractor.conv_layers.\1.layer_norm."
    ),
    r"encoder\.pos_conv\.(\d+)\.0\.": r"encoder.pos_conv_embed.layers.\1.conv.",
    r"encoder\.pos_conv\.0\.": "encoder.pos_conv_embed.conv.",
    r"encoder\.layer_norm\.": "encoder.layer_norm.",
    r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.": r"encoder.layers.\1.layer_norm.",
    r"encoder\.layers\.(\d+)\.self_attn\.grep_linear\.": (
        r"encoder.layers.\1.attention.gru_rel_pos_linear."
    ),
    r"encoder\.layers\.(\d+)\.self_attn\.grep_a$": (
        r"encoder.layers.\1.attention.gru_rel_pos_const"
    ),
    r"encoder\.layers\.0\.self_attn\.relative_attention_bias\.": (
        "encoder.layers.0.attention.rel_attn_embed."
    ),
    r"encoder\.layers\.(\d+)\.self_attn\.": r"encoder.layers.\1.attention.",
    r"encoder\.layers\.(\d+)\.fc1\.": r"encoder.layers.\1.feed_forward.intermediate_dense.",
    r"encoder\.layers\.(\d+)\.fc2\.": r"encoder.layers.\1.feed_forward.output_dense.",
    r"encoder\.layers\.(\d+)\.final_layer_norm\.": r"encoder.layers.\1.final_layer_norm.",
}
"""Beginning of a name there -> here, the first that fits; tensors of heads fit none."""


def load(place: str, layer: int | None = None, normalize: str = "") -> Wav2Vec2Teacher:
    """Load a checkpoint of fairseq, or of WavLM's authors.

    Args:
        place: The file.
        layer: Which layer is `vectors`, from 1; None is the network's own output.
        normalize: "true" or "false": whether waveforms are standardized, whatever the file says.

    Raises:
        UserError: The file is missing, would run code, or holds another network; its settings do
            not say whether waveforms are standardized.
    """
    dump = _read(Path(place))
    with reading(Path(place), "checkpoint of fairseq"):
        settings = list(_nested(_plain({name: dump.get(name) for name in ("cfg", "args")})))
        standardize = _standardize(settings, normalize, place)
        named = {name: value for name, value in dump["model"].items() if isinstance(value, Tensor)}
        state = _renamed(own_state(named, *PREFIXES))
        network = _network(state, settings, named, place)
    for name, value in network.state_dict().items():
        if name.endswith("masked_spec_embed"):
            state.setdefault(name, value)  # only training uses it
    load_exactly(network, state, place)
    return Wav2Vec2Teacher(network, normalize=standardize, layer=layer)


def _standardize(settings: list[Mapping[str, Any]], said: str, place: str) -> bool:
    if said:
        return read_normalize(said, place)
    given = _setting(settings, "normalize", None)
    if given is None:
        raise UserError(
            f"{place}: does not say whether waveforms are standardized (normalize): say it behind "
            "the name, ?normalize=true or ?normalize=false"
        )
    return bool(given)


def _read(path: Path) -> dict[str, Any]:
    dump = read_weights(path, SETTINGS)
    if not isinstance(dump, dict) or not isinstance(dump.get("model"), dict):
        raise UserError(f'{path}: no checkpoint of fairseq: expected {{"model": tensors by name}}')
    return dump


def _plain(value: Any) -> Any:
    """Take values out of inert settings: of argparse, or of omegaconf, which wraps each."""
    if isinstance(value, Inert):
        state = value.state
        if isinstance(state, Mapping):
            return _plain(state.get("_content", state.get("_val", state)))
        return value.arguments[0] if value.arguments else None
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return value


def _nested(settings: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield settings and those within them, outer ones first."""
    yield settings
    for value in settings.values():
        if isinstance(value, Mapping):
            yield from _nested(value)


def _setting(settings: list[Mapping[str, Any]], name: str, default: Any) -> Any:
    given = (one[name] for one in settings if one.get(name) is not None)
    return next(given, default)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in TENSORS.items():
            if re.match(pattern, name):
                renamed[re.sub(f"^{pattern}", replacement, name)] = value
                break
        else:
            if name.startswith(("encoder.", "feature_extractor.")):
                renamed[name] = value  # of a variant that is not known: loading will say so
    return renamed


def _network(
    state: Mapping[str, Tensor],
    settings: list[Mapping[str, Any]],
    named: Mapping[str, Tensor],
    source: str,
) -> nn.Module:
    """Build the network whose shapes the weights have."""
    try:
        sizes = _sizes(state, settings)
    except KeyError as error:
        raise UserError(
            f"{source}: no wav2vec 2.0, HuBERT, data2vec or WavLM: it has no {error.args[0]}"
        ) from error
    bias = state.get("encoder.layers.0.attention.rel_attn_embed.weight")
    if bias is not None:
        return WavLMModel(
            WavLMConfig(
                **sizes,
                num_buckets=len(bias),
                max_bucket_distance=_setting(settings, "max_distance", 800),
            )
        ).float()
    if (stacked := state.get("encoder.pos_conv_embed.layers.0.conv.weight")) is not None:
        depth = len({name.split(".")[3] for name in state if "pos_conv_embed.layers." in name})
        sizes |= {
            "num_conv_pos_embeddings": depth,
            "conv_pos_kernel_size": stacked.shape[2],
            "num_conv_pos_embedding_groups": len(stacked) // stacked.shape[1],
        }
        return Data2VecAudioModel(Data2VecAudioConfig(**sizes)).float()
    if any("label_embs_concat" in name for name in named):
        return HubertModel(HubertConfig(**sizes)).float()
    return Wav2Vec2Model(Wav2Vec2Config(**sizes)).float()


def _sizes(state: Mapping[str, Tensor], settings: list[Mapping[str, Any]]) -> dict[str, Any]:
    convolutions = [
        state[f"feature_extractor.conv_layers.{index}.conv.weight"]
        for index in range(_count(state, "feature_extractor.conv_layers."))
    ]
    dim = len(state["feature_projection.projection.weight"])
    layer_norms = "feature_extractor.conv_layers.1.layer_norm.weight" in state
    positions = state.get("encoder.pos_conv_embed.conv.parametrizations.weight.original1")
    sizes: dict[str, Any] = {
        "hidden_size": dim,
        "num_hidden_layers": _count(state, "encoder.layers."),
        "num_attention_heads": _setting(settings, "encoder_attention_heads", max(1, dim // 64)),
        "intermediate_size": len(state["encoder.layers.0.feed_forward.intermediate_dense.weight"]),
        "conv_dim": [len(weight) for weight in convolutions],
        "conv_kernel": [weight.shape[2] for weight in convolutions],
        # All public ones have these; strides are no shapes.
        "conv_stride": [5, *[2] * (len(convolutions) - 1)],
        "conv_bias": "feature_extractor.conv_layers.0.conv.bias" in state,
        "feat_extract_norm": "layer" if layer_norms else "group",
        "do_stable_layer_norm": bool(_setting(settings, "layer_norm_first", layer_norms)),
    }
    if positions is not None:
        sizes["num_conv_pos_embeddings"] = positions.shape[2]
        sizes["num_conv_pos_embedding_groups"] = len(positions) // positions.shape[1]
    return sizes


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    numbers = {n.removeprefix(prefix).split(".")[0] for n in state if n.startswith(prefix)}
    return len(numbers)
