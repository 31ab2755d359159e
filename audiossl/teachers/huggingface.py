"""Speech models of transformers from a local folder: WavLM, HuBERT, wav2vec 2.0, data2vec-audio.

Conventions. Layers are counted from 1; `Frames.layers[k - 1]` is the output of block k as it leaves
the block: on the residual stream of pre-norm models (the large ones), behind the block's own norm
in post-norm ones (the base ones). Element k of the library's own list of hidden states is the same,
save the last one of pre-norm models, which is normalized in transformers 4 and is not in 5.
`vectors` is a layer so defined where one is asked for, and otherwise the model's
`last_hidden_state`, behind the final norm, for encoders and teachers alike. Waveforms are
standardized, each over its own valid samples, where the folder's preprocessor_config.json says
`do_normalize`.

The same names load Whisper's encoder, which lives in `whisper.py`.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from audiossl.atomic_files import read_json
from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import padding_mask, valid_mask
from audiossl.nn.weights import load_exactly, read_weights
from audiossl.teachers.layers import LayerTap, described, first_layers, own_state
from audiossl.teachers.teacher import FrozenTeacher
from audiossl.teachers.wav2vec2 import ConvolutionStack, standardized, with_valid_norms
from audiossl.teachers.whisper import WhisperTeacher

FAMILY = ("wavlm", "hubert", "wav2vec2", "data2vec-audio")


def load(place: str, layer: int | None = None) -> FrozenTeacher:
    """Load a folder.

    Args:
        place: A folder with config.json, preprocessor_config.json and the weights.
        layer: Which layer is `vectors`, from 1 (SPEAR's speech models learn the codes of layer 21
            of WavLM-Large); blocks above it are not computed. None: the model's own output, with
            the outputs of all blocks as `layers`.

    Raises:
        UserError: The folder lacks one of them, holds another type of model, or weights that do not
            fit or would run code; there is no such layer.
    """
    folder = Path(place)
    config = _read_config(folder)
    if config.model_type == "whisper":
        return WhisperTeacher.from_state(config, _read_state(folder), place, layer)
    network = AutoModel.from_config(config).float()
    state = own_state(_read_state(folder), f"{network.base_model_prefix}.")
    for name, value in network.state_dict().items():
        if name.endswith("masked_spec_embed"):
            state.setdefault(name, value)  # only training uses it
    load_exactly(network, state, place)
    return Wav2Vec2Teacher(network, normalize=_read_normalize(folder), layer=layer)


class Wav2Vec2Teacher(FrozenTeacher):
    """One of the wav2vec 2.0 family, as transformers implements it."""

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
        self.sample_rate, self.dim = 16000, int(config.hidden_size)
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

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        if self.normalize:
            waveforms = standardized(waveforms, lengths, epsilon=1e-7)
        waveforms, seen = self.convolutions.prepared(waveforms, lengths)
        for norm in self.norms:
            norm.lengths = self.convolutions.num_frames(seen, depth=1)
        num_frames = self.convolutions.num_frames(seen)
        self.padding = padding_mask(num_frames, int(num_frames.max()))
        mask = valid_mask(seen, waveforms.shape[1]).long()
        self.tap.clear()
        with warnings.catch_warnings():
            # transformers 4 gives WavLM's attention two masks of different types.
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            final = self.network(waveforms, attention_mask=mask).last_hidden_state
        layers = self.tap.take()
        return Frames(
            vectors=final if self.layer is None else layers[-1],
            lengths=self.convolutions.num_frames(lengths),
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
    model_type = read_json(folder / "config.json").get("model_type")
    if model_type not in (*FAMILY, "whisper"):
        raise UserError(
            f"{folder}: holds a model of type {model_type!r}, which is no speech encoder that is "
            f"known here ({', '.join(FAMILY)}, whisper)"
        )
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if getattr(config, "add_adapter", False):
        # Its frames are fewer and wider than those of the layers: no rate would be true of both.
        raise UserError(
            f"{folder}: a model with an adapter behind its last layer (add_adapter), which is not "
            "supported: save the model without it (add_adapter=False)"
        )
    return config


def _read_state(folder: Path) -> dict[str, Tensor]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        parts = sorted(set(read_json(index)["weight_map"].values()))
        return {n: v for part in parts for n, v in read_weights(folder / part).items()}
    names = ("model.safetensors", "pytorch_model.bin")
    for name in names:
        if (folder / name).is_file():
            return read_weights(folder / name)
    raise UserError(f"{folder}: no weights: neither {' nor '.join(names)} lies there")


def _read_normalize(folder: Path) -> bool:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        raise UserError(
            f"{path}: missing, but only it says whether waveforms are standardized (do_normalize), "
            "and guessing wrongly would spoil every code: fetch it with the weights"
        )
    return bool(read_json(path).get("do_normalize", True))
