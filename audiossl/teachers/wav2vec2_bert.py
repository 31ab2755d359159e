"""w2v-BERT 2.0, as transformers implements it: a Conformer over pairs of filter-bank frames.

Conventions. 80 mel bins of 16-bit samples, each bin standardized over the waveform; two frames side
by side are one of the network, 50 a second; a last odd one is dropped. Layers are counted from 1
and taken as they leave the block, behind its own norm; the network's own output is that of the last
block.

Barrault et al., "Seamless: Multilingual expressive and streaming speech translation" (2023).
"""

from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Wav2Vec2BertModel

from audiossl.nn.frames import Frames
from audiossl.nn.lengths import valid_mask
from audiossl.nn.weights import load_exactly
from audiossl.teachers.kaldi import HOP, filter_bank, num_frames, standardized_bins
from audiossl.teachers.layers import LayerTap, first_layers, own_state
from audiossl.teachers.teacher import FrozenTeacher

BINS, STRIDE = 80, 2


class Wav2Vec2BertTeacher(FrozenTeacher):
    """A w2v-BERT 2.0 without an adapter."""

    def __init__(self, network: nn.Module, layer: int | None = None) -> None:
        """Take a network over.

        Args:
            network: The network.
            layer: Which layer is `vectors`, from 1; None is the network's own output.
        """
        super().__init__()
        config: Any = network.config
        encoder: Any = network.encoder
        self.network, self.layer = network, layer
        self.sample_rate, self.dim = 16000, int(config.hidden_size)
        self.frame_rate = self.sample_rate / (HOP * STRIDE)
        encoder.layers = first_layers(encoder.layers, layer, "wav2vec2-bert")
        self.tap = LayerTap(encoder.layers)
        where = f"layer {layer}" if layer else f"output of {len(encoder.layers)} layers"
        self.convention = f"wav2vec2-bert {where}; filter bank of 16-bit samples, bins standardized"
        self.eval().requires_grad_(False)

    @classmethod
    def from_state(
        cls, config: Any, state: dict[str, Tensor], source: str, layer: int | None = None
    ) -> "Wav2Vec2BertTeacher":
        """Build the network of a folder's weights, without a head.

        Raises:
            UserError: The weights do not fit.
        """
        network = Wav2Vec2BertModel(config).float()
        state = own_state(state, f"{network.base_model_prefix}.")
        for name, value in network.state_dict().items():
            if name.endswith("masked_spec_embed"):
                state.setdefault(name, value)  # only training uses it
        load_exactly(network, state, source)
        return cls(network, layer)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        counts = num_frames(lengths)
        bank = filter_bank(waveforms, lengths, num_bins=BINS, scale=2.0**15)
        bank = standardized_bins(bank, counts)
        bank = F.pad(bank, (0, 0, 0, max(0, STRIDE - bank.shape[1])))
        pairs = bank[:, : bank.shape[1] // STRIDE * STRIDE].unflatten(1, (-1, STRIDE)).flatten(2)
        counts = counts // STRIDE
        # A row without a frame goes through the network like others, and is not valid.
        mask = valid_mask(counts.clamp(min=1), pairs.shape[1]).long()
        self.tap.clear()
        final = self.network(pairs, attention_mask=mask).last_hidden_state
        layers = self.tap.take()
        return Frames(
            vectors=final if self.layer is None else layers[-1],
            lengths=counts,
            frame_rate=self.frame_rate,
            layers=layers,
        )
