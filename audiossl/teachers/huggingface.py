"""Speech models of transformers from a local folder: WavLM, HuBERT, wav2vec 2.0, data2vec-audio.

Conventions. Layers are counted from 1; `Frames.layers[k - 1]` is the output of block k as it leaves
the block: on the residual stream of pre-norm models (the large ones), behind the block's own norm
in post-norm ones (the base ones). Element k of the library's own list of hidden states is the same,
save the last one of pre-norm models, which is normalized in transformers 4 and is not in 5.
`vectors` is a layer so defined where one is asked for, and otherwise the model's
`last_hidden_state`, behind the final norm, for encoders and teachers alike. Waveforms are
standardized, each over its own valid samples, where the folder's preprocessor_config.json says
`do_normalize`, or the caller does.

MERT is a HuBERT of music at 24 kHz, whose public folders bring code of their own; it is not run.
Where its `deepnorm` is set, blocks multiply what they add to (Wang et al. 2022, arXiv 2203.00555).

The same names load Whisper's encoder, which lives in `whisper.py`, and w2v-BERT 2.0, in
`wav2vec2_bert.py`.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, HubertConfig

from audiossl.atomic_files import read_json
from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.nn.graphs import for_any_length
from audiossl.nn.lengths import padding_mask
from audiossl.nn.weights import load_exactly
from audiossl.teachers.layers import LayerTap, described, first_layers, own_state, read_folder
from audiossl.teachers.teacher import FrozenTeacher
from audiossl.teachers.wav2vec2 import (
    ConvolutionalTeacher,
    ConvolutionStack,
    read_normalize,
    with_valid_norms,
)
from audiossl.teachers.wav2vec2_bert import Wav2Vec2BertTeacher
from audiossl.teachers.whisper import WhisperTeacher

MERT = "mert_model"
FAMILY = ("wavlm", "hubert", "wav2vec2", "data2vec-audio", MERT)
OTHERS: dict[str, type[WhisperTeacher] | type[Wav2Vec2BertTeacher]] = {
    "whisper": WhisperTeacher,
    "wav2vec2-bert": Wav2Vec2BertTeacher,
}


def load(place: str, layer: int | None = None, normalize: str = "") -> FrozenTeacher:
    """Load a folder.

    Args:
        place: A folder with config.json, preprocessor_config.json and the weights.
        layer: Which layer is `vectors`, from 1 (SPEAR's speech models learn the codes of layer 21
            of WavLM-Large); blocks above it are not computed. None: the model's own output, with
            the outputs of all blocks as `layers`.
        normalize: "true" or "false": whether waveforms are standardized, whatever the folder says.
            Folders without preprocessor_config.json do not say it.

    Raises:
        UserError: The folder lacks one of them, holds another type of model, or weights that do not
            fit or would run code; there is no such layer.
    """
    folder = Path(place)
    config = _read_config(folder)
    if config.model_type in OTHERS:
        if normalize:
            raise UserError(f"{place}: {config.model_type} standardizes no waveforms: leave it out")
        return OTHERS[config.model_type].from_state(config, read_folder(folder), place, layer)
    standardize = read_normalize(normalize, place) if normalize else _read_normalize(folder)
    network = AutoModel.from_config(config).float()
    state = own_state(read_folder(folder), f"{network.base_model_prefix}.", f"{MERT}.")
    for name, value in network.state_dict().items():
        if name.endswith("masked_spec_embed"):
            state.setdefault(name, value)  # only training uses it
    load_exactly(network, state, place)
    if getattr(config, "deepnorm", False):
        _fold_deepnorm(network.encoder)
    return Wav2Vec2Teacher(network, normalize=standardize, layer=layer)


class Wav2Vec2Teacher(ConvolutionalTeacher):
    """One of the wav2vec 2.0 family, as transformers implements it."""

    epsilon = 1e-7

    @classmethod
    def of_architecture(cls, content: Mapping[str, Any]) -> "Wav2Vec2Teacher":
        """Make a network with random weights."""
        config = AutoConfig.for_model(**content["config"])
        network = AutoModel.from_config(config).float()
        return cls(network, normalize=content["normalize"], layer=content["layer"])

    @property
    def architecture(self) -> dict[str, Any]:
        """Everything but the weights, as plain content."""
        network: Any = self.network
        config = json.loads(network.config.to_json_string(use_diff=False))
        return {"config": config, "normalize": self.normalize, "layer": self.layer}

    def __init__(self, network: nn.Module, *, normalize: bool, layer: int | None = None) -> None:
        """Take a network over.

        Args:
            network: Wav2Vec2Model, HubertModel, WavLMModel or Data2VecAudioModel.
            normalize: Whether waveforms are standardized.
            layer: Which layer is `vectors`, from 1; None is the network's own output.
        """
        super().__init__()
        config: Any = network.config
        self.network, self.normalize, self.layer = network, normalize, layer
        self.sample_rate = int(getattr(config, "sample_rate", 16000))
        self.dim = int(config.hidden_size)
        self.convolutions = ConvolutionStack(config.conv_kernel, config.conv_stride)
        self.frame_rate = self.sample_rate / self.convolutions.stride
        encoder: Any = network.encoder
        encoder.layers = first_layers(encoder.layers, layer, str(config.model_type))
        self.tap = LayerTap(encoder.layers)
        self.norms = with_valid_norms(network.get_submodule("feature_extractor"))
        self.padding: Tensor | None = None
        for layer_of_positions in getattr(encoder.pos_conv_embed, "layers", []):
            layer_of_positions.register_forward_pre_hook(self._silence)
        self.convention = (
            f"{config.model_type} {described(layer, len(encoder.layers))}; waveforms "
            f"{'standardized each' if normalize else 'as they are'}"
        )
        self.eval().requires_grad_(False)

    def projected(
        self,
        waveforms: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"],  # noqa: ARG002 - norms know them
    ) -> Float[Tensor, "batch frames dim"]:
        """Run the convolutions and the projection."""
        network: Any = self.network
        projected = network.feature_projection(network.feature_extractor(waveforms).transpose(1, 2))
        return projected[0] if isinstance(projected, tuple) else projected

    def encode_features(
        self, features: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Run the Transformer."""
        # A row that is too short for one frame was lengthened to one.
        num_frames = lengths.clamp(min=1)
        self.padding = padding_mask(num_frames, features.shape[1])
        self.tap.clear()
        network: Any = self.network
        with warnings.catch_warnings():
            # transformers 4 gives WavLM's attention two masks of different types.
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            # Attention without a mask is faster.
            whole = not for_any_length() and not bool(self.padding.any())
            mask = None if whole else ~self.padding
            final = network.encoder(features, attention_mask=mask).last_hidden_state
        layers = self.tap.take()
        return Frames(
            vectors=final if self.layer is None else layers[-1],
            lengths=lengths,
            frame_rate=self.frame_rate,
            layers=layers,
        )

    def _silence(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:  # noqa: ARG002
        """Silence the padding before each positional convolution: all but the first fill it."""
        padding = torch.zeros_like(inputs[0][:, 0], dtype=torch.bool)
        if self.padding is not None:
            padding[:, : self.padding.shape[1]] = self.padding
            padding[:, self.padding.shape[1] :] = True
        return (inputs[0].masked_fill(padding[:, None], 0.0),)


def _read_config(folder: Path) -> Any:
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; fetch a model first, nothing is downloaded from here"
        )
    content = read_json(folder / "config.json")
    model_type = content.get("model_type")
    if model_type not in (*FAMILY, *OTHERS):
        raise UserError(
            f"{folder}: holds a model of type {model_type!r}, which is no speech encoder that is "
            f"known here ({', '.join((*FAMILY, *OTHERS))})"
        )
    if model_type == MERT:
        return _mert_config(content, folder)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if getattr(config, "add_adapter", False):
        # Its frames are fewer and wider than those of the layers: no rate would be true of both.
        raise UserError(
            f"{folder}: a model with an adapter behind its last layer (add_adapter), which is not "
            "supported: save the model without it (add_adapter=False)"
        )
    return config


def _mert_config(content: dict[str, Any], folder: Path) -> HubertConfig:
    """Read MERT's config as that of a HuBERT.

    Its `attention_relax` changes how a softmax is computed and not what comes out.
    """
    if content.get("feature_extractor_cqt"):
        raise UserError(
            f"{folder}: a MERT that also takes a constant-Q spectrogram (feature_extractor_cqt), "
            "which is not supported: take one of waveforms alone"
        )
    return HubertConfig(**{name: value for name, value in content.items() if name != "model_type"})


def _fold_deepnorm(encoder: Any) -> None:
    """Let blocks compute norm(alpha · x + f(x)) as norm(x + f(x) / alpha), which is the same."""
    alpha = (2.0 * len(encoder.layers)) ** 0.25
    with torch.no_grad():
        for block in encoder.layers:
            for projection in (block.attention.out_proj, block.feed_forward.output_dense):
                projection.weight.div_(alpha)
                projection.bias.div_(alpha)
            for norm in (block.layer_norm, block.final_layer_norm):
                norm.eps /= alpha**2


def _read_normalize(folder: Path) -> bool:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise UserError(
            f"{path}: missing, but only it says whether waveforms are standardized (do_normalize): "
            "fetch it with the weights, or say it behind the name: ?normalize=true (as large "
            "models were trained) or ?normalize=false (as HuBERT and WavLM base were)"
        )
    return bool(read_json(path).get("do_normalize", True))
