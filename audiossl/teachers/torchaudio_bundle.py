"""Pretrained models of torchaudio from their local state dicts: WAVLM_LARGE, HUBERT_BASE and so on.

Conventions. Layers are counted from 1; `Frames.layers[k - 1]` is the output of block k as it leaves
the block, which is what torchaudio's `extract_features` gives; `vectors` is a layer or the model's
own output, behind the final norm. Waveforms of bundles that ask for it are normalized, each over
its own valid samples, where torchaudio takes the statistics over the whole batch. Unlike
torchaudio's, WavLM takes lengths here, and padding reaches no valid frame of base models.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchaudio
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchaudio.models import wav2vec2_model, wavlm_model

from audiossl.errors import UserError, did_you_mean
from audiossl.nn.frames import Frames
from audiossl.nn.lengths import padding_mask
from audiossl.nn.weights import load_exactly, read_weights
from audiossl.teachers.layers import described, first_layers, own_state
from audiossl.teachers.wav2vec2 import (
    ConvolutionalTeacher,
    ConvolutionStack,
    with_valid_norms,
)


def load(place: str, layer: int | None = None) -> "TorchaudioTeacher":
    """Load the state dict of a bundle.

    Args:
        place: The file under the name that torchaudio gives it when it downloads it
            ("wavlm_large.pth"), or `BUNDLE=file` ("WAVLM_LARGE=weights.pth").
        layer: Which layer is `vectors`, from 1; None is the model's own output.

    Raises:
        UserError: No bundle goes with the file, the weights do not fit it, would run code, or there
            is no such layer.
    """
    bundles = _bundles()
    name, separator, file = place.partition("=")
    if not separator:
        name, file = _bundle_of_file(Path(place).name, bundles), place
    if name not in bundles:
        raise UserError(
            f"{place}: torchaudio has no bundle {name!r}{did_you_mean(name, bundles)} "
            f"(known: {', '.join(bundles)})"
        )
    # The public way to build a bundle's network also downloads its weights.
    bundle: Any = bundles[name]
    architecture = {
        "name": name, "type": bundle._model_type, "normalize": bundle._normalize_waveform,
        "parameters": {**bundle._params, "aux_num_out": None}, "layer": layer,
    }  # fmt: skip
    network = _network(architecture)
    load_exactly(network, own_state(read_weights(Path(file))), file)
    return TorchaudioTeacher(network, architecture)


class TorchaudioTeacher(ConvolutionalTeacher):
    """A wav2vec 2.0, HuBERT or WavLM as torchaudio implements it."""

    epsilon = 1e-5  # of torch's layer_norm

    @classmethod
    def of_architecture(cls, content: Mapping[str, Any]) -> "TorchaudioTeacher":
        """Make a network with random weights."""
        return cls(_network(content), content)

    def __init__(self, network: nn.Module, architecture: Mapping[str, Any]) -> None:
        """Take a network over.

        Args:
            network: A torchaudio `Wav2Vec2Model`.
            architecture: Everything but the weights, as plain content: name of the bundle, type and
                parameters of the network, whether waveforms are normalized, and which layer is
                `vectors`, from 1; None is the model's own output.
        """
        super().__init__()
        self.network, self.architecture = network, architecture
        name, normalize, layer = (architecture[key] for key in ("name", "normalize", "layer"))
        self.normalize, self.layer = normalize, layer
        convolutions: Any = network.get_submodule("feature_extractor.conv_layers")
        self.convolutions = ConvolutionStack(
            [convolution.kernel_size for convolution in convolutions],
            [convolution.stride for convolution in convolutions],
        )
        self.norms = with_valid_norms(convolutions)
        transformer: Any = network.get_submodule("encoder.transformer")
        transformer.layers = first_layers(transformer.layers, layer, name)
        self.transformer, first = transformer, transformer.layers[0]
        self.masks_keys = hasattr(first.attention, "gru_rel_pos")  # WavLM's attention does
        self.sample_rate, self.dim = 16000, int(first.attention.embed_dim)
        self.frame_rate = self.sample_rate / self.convolutions.stride
        self.convention = (
            f"torchaudio {name} {described(layer, len(transformer.layers))}; waveforms "
            f"{'normalized each' if normalize else 'as they are'}"
        )
        self.eval().requires_grad_(False)

    def projected(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch frames dim"]:
        """Run the convolutions and the projection."""
        network: Any = self.network
        features, _ = network.feature_extractor(waveforms, lengths)
        return network.encoder.feature_projection(features)

    def encode_features(
        self, features: Float[Tensor, "batch frames dim"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Run the Transformer."""
        # A row that is too short for one frame was lengthened to one.
        padding = padding_mask(lengths.clamp(min=1), features.shape[1])
        layers = self._transformed(features.masked_fill(padding[..., None], 0.0), padding)
        transformer: Any = self.transformer
        vectors = layers[-1]
        # torchaudio calls a norm "first" that stands before the blocks of post-norm models.
        if self.layer is None and not transformer.layer_norm_first:
            vectors = transformer.layer_norm(vectors)
        return Frames(vectors, lengths, self.frame_rate, layers=layers)

    def _transformed(
        self, hidden: Float[Tensor, "batch frames dim"], padding: Tensor
    ) -> tuple[Float[Tensor, "batch frames dim"], ...]:
        transformer: Any = self.transformer
        bias, layers = None, []
        hidden = hidden + transformer.pos_conv_embed(hidden)
        if transformer.layer_norm_first:
            hidden = transformer.layer_norm(hidden)
        scores = torch.zeros_like(hidden[..., 0]).masked_fill(padding, -torch.inf)
        size = (len(hidden), 1, hidden.shape[1], hidden.shape[1])
        masks = {"attention_mask": scores[:, None, None].expand(size)}
        if self.masks_keys:
            masks = {"key_padding_mask": scores}
        for block in transformer.layers:
            hidden, bias = block(hidden, position_bias=bias, **masks)
            layers.append(hidden)
        return tuple(layers)


def _network(architecture: Mapping[str, Any]) -> nn.Module:
    build = wavlm_model if architecture["type"] == "WavLM" else wav2vec2_model
    return build(**architecture["parameters"])


def _bundles() -> dict[str, Any]:
    kind = torchaudio.pipelines.Wav2Vec2Bundle
    names = {name: getattr(torchaudio.pipelines, name) for name in dir(torchaudio.pipelines)}
    # Exactly this class: the bundles for recognition have another head.
    return {name: bundle for name, bundle in names.items() if type(bundle) is kind}


def _bundle_of_file(file: str, bundles: dict[str, Any]) -> str:
    files = {str(bundle._path).rpartition("/")[2]: name for name, bundle in bundles.items()}
    if file not in files:
        raise UserError(
            f"{file}: is not the name of any bundle's file{did_you_mean(file, files)}; say which "
            "bundle it is, as in torchaudio:HUBERT_BASE=<file>"
        )
    return files[file]
