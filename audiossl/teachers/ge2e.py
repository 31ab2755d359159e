"""GE2E: the speaker encoder of the PyPI wheel `resemblyzer`, for its hidden frames.

Three LSTM layers over 40 mel bands, trained to tell speakers apart; real speech knowledge in 1.4
million weights that come with a wheel, so that the mini demos have a teacher that was trained.

Conventions. Quiet waveforms are raised to -30 dBFS, each over its own valid samples; the wheel's
removal of silence, which would move frames in time, is left out. Frames are the outputs of the last
LSTM layer, 100 a second. The network was trained on 1.6 s at a time: it runs over windows of 160
mel frames that overlap by half, and a frame is taken from the window in which more of its past
lies. `Frames.pooled` is the embedding of Wan et al., "Generalized end-to-end loss for speaker
verification" (2018), section 3: the mean of the windows' unit-length embeddings, brought to unit
length.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
import torchaudio.functional as audio
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.nn.frames import Frames
from audiossl.nn.weights import load_exactly, named_tensors, read_weights
from audiossl.nn.wheels import file_of_wheel
from audiossl.teachers.mel import MelDialect, MelSpectrogram
from audiossl.teachers.teacher import FrozenTeacher, zero_padding

WHEEL, FILE = "resemblyzer==0.1.4", "resemblyzer/pretrained.pt"
WINDOW, HOP = 160, 80
"""Mel frames."""
QUIETEST = 10 ** (-30 / 20)
"""Root mean square to which quieter waveforms are raised: -30 dBFS."""


def load(place: str = "") -> "Ge2eTeacher":
    """Load the speaker encoder.

    Args:
        place: A copy of the wheel's `pretrained.pt`; empty takes the installed wheel's own.

    Raises:
        UserError: The wheel is not installed, or the file is not the speaker encoder's.
    """
    path = Path(place) if place else file_of_wheel(WHEEL, FILE)
    content = read_weights(path)
    inner = content.get("model_state", content) if isinstance(content, dict) else content
    state = named_tensors(inner, str(path))
    teacher = Ge2eTeacher()
    # The scale and offset of the training's similarity have no use here.
    weights = {name: value for name, value in state.items() if not name.startswith("similarity_")}
    load_exactly(teacher, weights, str(path))
    return teacher


class Ge2eTeacher(FrozenTeacher):
    """A speaker encoder's hidden frames."""

    def __init__(self, dim: int = 256, num_layers: int = 3) -> None:
        super().__init__()
        self.sample_rate, self.frame_rate, self.dim = 16000, 100.0, dim
        self.convention = "ge2e last LSTM layer; waveforms raised to -30 dBFS each"
        filters = audio.melscale_fbanks(
            201, 0.0, 8000.0, 40, 16000, norm="slaney", mel_scale="slaney"
        )
        # The mirror is what librosa did when the network was trained.
        dialect = MelDialect(sample_rate=16000, window=400, hop_length=160, edges="mirror")
        self.mel = MelSpectrogram(dialect, filters)
        self.lstm = nn.LSTM(40, dim, num_layers, batch_first=True)
        self.linear = nn.Linear(dim, dim)
        self.eval().requires_grad_(False)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        mels, num_frames = self.mel(_raised(waveforms, lengths), lengths)
        num_windows = max(1, -(-(mels.shape[1] - WINDOW) // HOP) + 1)
        missing = (num_windows - 1) * HOP + WINDOW - mels.shape[1]
        windows = F.pad(mels, (0, 0, 0, missing)).unfold(1, WINDOW, HOP).transpose(2, 3)
        first = HOP * torch.arange(num_windows, device=lengths.device)
        nonempty = first + HOP < num_frames[:, None]  # its second half is new
        nonempty[:, 0] = True
        hidden = windows.new_zeros((len(mels), num_windows, WINDOW, self.dim))
        hidden[nonempty] = self.lstm(windows[nonempty])[0].to(hidden)
        whole = hidden[:, :, HOP:].flatten(1, 2)
        vectors = torch.cat([hidden[:, 0, :HOP], whole], dim=1)[:, : mels.shape[1]]
        return Frames(
            vectors, num_frames, self.frame_rate, pooled=self._embedded(hidden, first, num_frames)
        )

    def _embedded(
        self,
        hidden: Float[Tensor, "batch windows frames dim"],
        first: Int[Tensor, " windows"],
        num_frames: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch dim"]:
        """Average the embeddings of whole windows, or of the first if there is none."""
        counted = first + WINDOW <= num_frames[:, None]
        counted[:, 0] = True
        last = (num_frames[:, None] - first - 1).clamp(0, WINDOW - 1)
        ends = hidden.gather(2, last[..., None, None].expand(-1, -1, 1, self.dim))[:, :, 0]
        embedded = F.normalize(F.relu(self.linear(ends)), dim=2)
        return F.normalize((embedded * counted[..., None]).sum(dim=1), dim=1)


def _raised(
    waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
) -> Float[Tensor, "batch samples"]:
    waveforms = zero_padding(waveforms, lengths)
    power = waveforms.square().sum(dim=1) / lengths.clamp(min=1)
    # Silence stays silence.
    gain = torch.where(power > 0, QUIETEST * power.clamp(min=1e-20).rsqrt(), 1.0).clamp(min=1.0)
    return waveforms * gain[:, None]
