"""Whisper's encoder, as transformers implements it.

Conventions. The network encodes windows of 30 s, silence behind the end of a shorter waveform
included, as it was trained to; a longer waveform is cut into windows that are encoded alone.
Frames are those that lie in the waveform, 50 a second. Layers are counted from 1 and taken as they
leave the block; the encoder's own output is behind its final norm. The front end is Whisper's: 80
or 128 mel bands, log10, floored 8 (80 dB) below the window's loudest, (x + 4) / 4.
"""

from typing import Any

import torch
import torch.nn.functional as F
import torchaudio.functional as audio
from jaxtyping import Float, Int
from torch import Tensor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from audiossl.nn.frames import Frames
from audiossl.nn.weights import load_exactly
from audiossl.teachers.layers import LayerTap, described, first_layers, own_state
from audiossl.teachers.mel import MelDialect, MelSpectrogram
from audiossl.teachers.teacher import FrozenTeacher, zero_padding

SAMPLES_PER_FRAME = 320
"""A hop of 160 samples, halved by the second convolution."""


class WhisperTeacher(FrozenTeacher):
    """The encoder of a Whisper model."""

    def __init__(self, encoder: WhisperEncoder, layer: int | None = None) -> None:
        """Take a network over.

        Args:
            encoder: The network.
            layer: Which layer is `vectors`, from 1; None is the network's own output.
        """
        super().__init__()
        config: Any = encoder.config
        self.encoder, self.layer = encoder, layer
        self.sample_rate, self.dim = 16000, int(config.d_model)
        self.frame_rate = self.sample_rate / SAMPLES_PER_FRAME
        self.window = int(config.max_source_positions) * SAMPLES_PER_FRAME
        encoder.layers = first_layers(encoder.layers, layer, "whisper")
        self.tap = LayerTap(encoder.layers)
        filters = audio.melscale_fbanks(
            201, 0.0, 8000.0, int(config.num_mel_bins), 16000, norm="slaney", mel_scale="slaney"
        )
        dialect = MelDialect(sample_rate=16000, window=400, hop_length=160, edges="mirror")
        self.mel = MelSpectrogram(dialect, filters)
        self.convention = (
            f"whisper {described(layer, len(encoder.layers))}; windows of "
            f"{self.window / 16000:g} s that are encoded independently"
        )
        self.eval().requires_grad_(False)

    @classmethod
    def from_state(
        cls, config: Any, state: dict[str, Tensor], source: str, layer: int | None = None
    ) -> "WhisperTeacher":
        """Build the encoder of a whole Whisper model's weights.

        Raises:
            UserError: The weights do not fit.
        """
        encoder = WhisperEncoder(config).float()
        load_exactly(encoder, own_state(state, "model.encoder.", "encoder."), source)
        return cls(encoder, layer)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        num_windows = max(1, -(-int(lengths.max()) // self.window))
        missing = num_windows * self.window - waveforms.shape[1]
        waveforms = F.pad(zero_padding(waveforms, lengths), (0, missing))
        windows = waveforms.view(len(waveforms), num_windows, self.window)
        # Windows behind a row's end hold silence alone and are not computed.
        nonempty = torch.arange(num_windows, device=lengths.device) * self.window < lengths[:, None]
        nonempty[:, 0] = True
        self.tap.clear()
        final = self.encoder(self._log_mel(windows[nonempty])).last_hidden_state
        layers = tuple(_rows(layer, nonempty) for layer in self.tap.take())
        vectors = _rows(final, nonempty) if self.layer is None else layers[-1]
        return Frames(vectors, lengths // SAMPLES_PER_FRAME, self.frame_rate, layers)

    def _log_mel(
        self, windows: Float[Tensor, "windows samples"]
    ) -> Float[Tensor, "windows mels frames"]:
        whole = torch.full((len(windows),), windows.shape[1], device=windows.device)
        power, _ = self.mel(windows, whole)
        # The frame that is centered on the window's end is left out, as in the source.
        logarithm = power[:, :-1].clamp(min=1e-10).log10()
        floor = logarithm.amax(dim=(1, 2), keepdim=True) - 8.0
        return ((torch.maximum(logarithm, floor) + 4.0) / 4.0).transpose(1, 2)


def _rows(
    windows: Float[Tensor, "nonempty frames dim"], nonempty: Tensor
) -> Float[Tensor, "batch all_frames dim"]:
    """Put the windows of each row one behind the other."""
    rows = windows.new_zeros((*nonempty.shape, *windows.shape[1:]))
    rows[nonempty] = windows
    return rows.flatten(1, 2)
