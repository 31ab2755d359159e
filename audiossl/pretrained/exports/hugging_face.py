"""A folder for transformers: `AutoModel.from_pretrained(folder, trust_remote_code=True)`.

It holds the weights, a feature extractor, and the code of the network, so that it needs torch and
transformers alone. The front end is in the model: what it takes are waveforms.
"""

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from audiossl.atomic_files import write_json, write_text
from audiossl.configs import plain
from audiossl.errors import UserError
from audiossl.models.encoder import presentation_of
from audiossl.nn.weights import write_weights
from audiossl.pretrained.certificate import Difference, compare_outputs, outputs_of
from audiossl.pretrained.exports.carried import is_own
from audiossl.pretrained.exports.forms import Export
from audiossl.pretrained.exports.sources import PACKAGE, flat, source_files

MODEL_TYPE = "audiossl_encoder"
USE = """
    from transformers import AutoFeatureExtractor, AutoModel

    extractor = AutoFeatureExtractor.from_pretrained("<this folder>")
    model = AutoModel.from_pretrained("<this folder>", trust_remote_code=True)
    outputs = model(**extractor(waveforms, sampling_rate=RATE, padding=True, return_tensors="pt"))
    outputs.last_hidden_state, outputs.frame_lengths, outputs.pooler_output, outputs.hidden_states

`pooler_output` is the clip vector, of whole clips. It needs torch and transformers, not this
package.
"""
CONFIGURATION = '''"""Config of an encoder that audiossl wrote."""

from transformers import PretrainedConfig


class AudioSSLConfig(PretrainedConfig):
    model_type = "MODEL_TYPE"

    def __init__(self, network=None, presentation=None, sample_rate=16000, frame_rate=50.0,
                 hidden_size=0, layer_convention="", **options):
        self.network, self.presentation = network or {}, presentation or {}
        self.sample_rate, self.frame_rate = sample_rate, frame_rate
        self.hidden_size, self.layer_convention = hidden_size, layer_convention
        super().__init__(**options)
'''
MODELING = '''"""Waveforms to frames, by an encoder that audiossl wrote; its network is beside."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

IMPORTS
from .configuration_audiossl import AudioSSLConfig


@dataclass
class AudioSSLOutput(ModelOutput):
    """Frames (batch, frames, dim), their valid number, clip vectors, and all layers."""

    last_hidden_state: torch.FloatTensor = None
    frame_lengths: torch.LongTensor = None
    pooler_output: torch.FloatTensor = None
    hidden_states: tuple = None


class AudioSSLModel(PreTrainedModel):
    config_class = AudioSSLConfig
    base_model_prefix = "audiossl"
    main_input_name = "input_values"

    def __init__(self, config):
        super().__init__(config)
        # Windows and filters are computed here and are no weights: never on the meta device.
        with torch.device("cpu"):
            network = _from_plain(_Config, dict(config.network), "config.json")
            self.encoder = _Network(network)
        for module in self.modules():
            names = module._non_persistent_buffers_set
            buffers = {name: getattr(module, name) for name in names}
            module.computed = {n: b.clone() for n, b in buffers.items() if b is not None}
        self.post_init()

    def _init_weights(self, module):
        """Put back what was computed: transformers 5 keeps of buffers those that have weights."""
        for name, value in getattr(module, "computed", {}).items():
            getattr(module, name).copy_(value)

    def forward(self, input_values, attention_mask=None, output_hidden_states=None,
                return_dict=None, **options):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_values, dtype=torch.long)
        frames = self.encoder(input_values, attention_mask.long().sum(dim=1))
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        output = AudioSSLOutput(
            last_hidden_state=frames.vectors,
            frame_lengths=frames.lengths,
            pooler_output=frames.clip,
            hidden_states=tuple(frames.layers) if output_hidden_states else None,
        )
        return output if return_dict in (None, True) else output.to_tuple()
'''


def write(place: Path, export: Export) -> list[Difference]:
    """Write the folder, load it as transformers does and compare.

    Raises:
        UserError: The network is not of this package, so that its source cannot go with it.
    """
    encoder = export.encoder
    if not is_own(encoder) or encoder.user_config is not None:
        raise UserError(
            f"{export.source}: a {type(encoder).__name__}, whose code this package does not have "
            "to write; --to onnx or torch may do"
        )
    place.mkdir(parents=True)
    for name, content in _code(encoder).items():
        write_text(place / name, content)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    write_weights(place / "model.safetensors", state, {"format": "pt"})
    write_json(place / "preprocessor_config.json", _extractor(encoder.sample_rate))
    write_json(place / "config.json", _config(encoder))
    return compare_outputs(encoder, _load(place, encoder))


def _code(encoder: Any) -> dict[str, str]:
    """The network's source, and the two files that transformers looks for."""
    network, config = type(encoder), type(encoder.config)
    configs = f"{PACKAGE}.configs"
    files = source_files([network.__module__, config.__module__, configs])
    # Of a local folder, transformers copies what the model's own file imports, and no more.
    names = sorted(name.removesuffix(".py") for name in files)
    imports = [f"from .{name} import __doc__ as _{name}_doc  # noqa: F401" for name in names]
    imports += [
        f"from .{flat(configs)} import from_plain as _from_plain",
        f"from .{flat(config.__module__)} import {config.__name__} as _Config",
        f"from .{flat(network.__module__)} import {network.__name__} as _Network",
    ]
    return {
        **files,
        "configuration_audiossl.py": CONFIGURATION.replace("MODEL_TYPE", MODEL_TYPE),
        "modeling_audiossl.py": MODELING.replace("IMPORTS", "\n".join(imports)),
    }


def _config(encoder: Any) -> dict[str, Any]:
    return {
        "model_type": MODEL_TYPE,
        "architectures": ["AudioSSLModel"],
        "auto_map": {
            "AutoConfig": "configuration_audiossl.AudioSSLConfig",
            "AutoModel": "modeling_audiossl.AudioSSLModel",
        },
        "network": plain(encoder.config),
        "presentation": plain(presentation_of(encoder)),
        "sample_rate": encoder.sample_rate,
        "frame_rate": encoder.frame_rate,
        "hidden_size": encoder.dim,
        "layer_convention": encoder.layer_convention,
    }


def _extractor(sample_rate: int) -> dict[str, Any]:
    return {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": sample_rate,
        "padding_value": 0.0,
        "padding_side": "right",
        "do_normalize": False,
        "return_attention_mask": True,
    }


def _load(place: Path, encoder: Any) -> Any:
    """Load the folder as its users do; the code is read from it, and not from this package."""
    extractor = transformers.AutoFeatureExtractor.from_pretrained(place)
    model = transformers.AutoModel.from_pretrained(place, trust_remote_code=True).eval()

    def encode(waveforms: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        rows = [w[:n].numpy() for w, n in zip(waveforms, lengths.tolist(), strict=True)]
        rate = encoder.sample_rate
        given = extractor(rows, sampling_rate=rate, padding=True, return_tensors="pt")
        with torch.no_grad():
            out = model(**given)
        return outputs_of(out.last_hidden_state, out.frame_lengths, out.pooler_output)

    return encode
