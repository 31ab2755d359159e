"""PocketSphinx: which state of which English phone a frame sounds like.

The acoustic model of the PyPI wheel `pocketsphinx`, trained on transcribed English, as a teacher of
what is spoken; GE2E, the other small teacher of speech, represents the speaker. Its Gaussian
mixtures are phonetically tied: each of 42 phones and noises has its own 3 x 128 Gaussians, one set
each for 13 cepstra, their first and their second differences, and each of its three states has its
own weights of them. Only these 126 context-independent states are used; the 5000 that depend on
neighboring phones are for a decoder.

Conventions. The front end is that of Sphinx: samples as 16-bit integers, pre-emphasis of 0.97 over
the whole waveform, Hamming windows of 410 samples each 160 that lie in the waveform, power spectrum
of 512 points, 25 mel triangles of unit area from 130 to 6800 Hz on whole points, orthonormal DCT,
liftering by 22, the mean over the utterance taken off. The decoder's removal of noise is left out.
Frames are posteriors: the softmax of a tenth of the log-likelihoods, because streams and frames are
not as independent as the model assumes, and undamped posteriors are nearly always 0 or 1.

Source: the model is CMU Sphinx's `en-us` (ptm), whose files are described in SphinxTrain's manual.
"""

import math
import struct
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.nn.wheels import file_of_wheel
from audiossl.teachers.slopes import neighbor
from audiossl.teachers.teacher import FrozenTeacher, zero_padding

WHEEL, FOLDER = "pocketsphinx==5.1.1", "pocketsphinx/model/en-us/en-us"
WINDOW, HOP, POINTS = 410, 160, 512
"""Samples of a window, from one to the next, and of the transform."""
LOWEST, HIGHEST, NUM_MELS, NUM_CEPSTRA, LIFTER = 130.0, 6800.0, 25, 13, 22
BLOCK = 64
"""Frames that are compared with all Gaussians at once."""
STATES = 3
"""Of a phone."""
SCALE = 0.1
"""Of log-likelihoods."""
LEAST_VARIANCE = 1e-4
WEIGHT_STEP = 1024 * math.log(1.0001)
"""Log weights are whole multiples of this."""


def load(place: str = "") -> "PocketSphinxTeacher":
    """Load the acoustic model.

    Args:
        place: A folder with `means`, `variances` and `sendump`; empty takes the installed wheel's.

    Raises:
        UserError: The wheel is not installed, or a file is not what its name says.
    """
    folder = Path(place) if place else file_of_wheel(WHEEL, f"{FOLDER}/means").parent
    means, variances = (_read_gaussians(folder / name) for name in ("means", "variances"))
    if means.shape != variances.shape:
        raise UserError(
            f"{folder}: means have shape {tuple(means.shape)}, variances {tuple(variances.shape)}"
        )
    phones, streams, densities, _ = means.shape
    weights = _read_weights(folder / "sendump", streams, densities, STATES * phones)
    return PocketSphinxTeacher(means, variances.clamp(min=LEAST_VARIANCE), weights)


class PocketSphinxTeacher(FrozenTeacher):
    """Posteriors of the states of phones.

    Args:
        means: Of the Gaussians of each phone and stream.
        variances: Of the same, positive.
        log_weights: Of each state, which are those of a phone side by side.
    """

    def __init__(
        self,
        means: Float[Tensor, "phones streams densities cepstra"],
        variances: Float[Tensor, "phones streams densities cepstra"],
        log_weights: Float[Tensor, "streams densities states"],
    ) -> None:
        super().__init__()
        phones, streams, densities, _ = means.shape
        self.sample_rate, self.frame_rate, self.dim = 16000, 100.0, STATES * phones
        self.convention = f"pocketsphinx posteriors of {self.dim} states, likelihoods to the 0.1"
        by_phone = log_weights.exp().view(streams, densities, phones, STATES)
        for name, value in {
            "means": means.transpose(0, 1),
            "variances": variances.transpose(0, 1),
            "weights": by_phone.transpose(1, 2),
            "window": torch.hamming_window(WINDOW, periodic=False),
            "triangles": mel_triangles(),
            "cosines": _liftered_cosines(),
        }.items():
            self.register_buffer(name, value.contiguous(), persistent=False)
        self.means: Tensor
        self.variances: Tensor
        self.weights: Tensor
        self.window: Tensor
        self.triangles: Tensor
        self.cosines: Tensor
        self.eval()

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at 16 kHz."""
        num_frames = (1 + (lengths - WINDOW) // HOP).clamp(min=0)
        # Autocast would round power spectra, whose range is that of float32.
        with torch.autocast(waveforms.device.type, enabled=False):
            cepstra = self._cepstra(zero_padding(waveforms.float(), lengths))
            streams = _with_differences(_centered(cepstra, num_frames), num_frames)
            likelihoods = self.log_likelihoods(streams)
        return Frames(
            (SCALE * likelihoods).softmax(dim=-1),
            num_frames,
            self.frame_rate,
            first_time=WINDOW / 2 / self.sample_rate,
        )

    def log_likelihoods(
        self, streams: Float[Tensor, "batch frames streams cepstra"]
    ) -> Float[Tensor, "batch frames states"]:
        """Sum over streams the log-likelihood of each state."""
        # There are 5376 Gaussians to a stream: blocks of frames stay in the caches of a CPU.
        return torch.cat([self._block(block) for block in streams.split(BLOCK, dim=1)], dim=1)

    def _block(
        self, streams: Float[Tensor, "batch frames streams cepstra"]
    ) -> Float[Tensor, "batch frames states"]:
        likelihoods = []
        for x, mean, variance, weight in zip(
            streams.unbind(2), self.means, self.variances, self.weights, strict=True
        ):
            densities = _log_densities(x, mean, variance)
            largest = densities.amax(dim=-1, keepdim=True)
            mixed = torch.einsum("btpd,pds->btps", densities.sub_(largest).exp_(), weight)
            likelihoods.append(mixed.log_().add_(largest).flatten(2))
        return torch.stack(likelihoods).sum(dim=0)

    def _cepstra(
        self, waveforms: Float[Tensor, "batch samples"]
    ) -> Float[Tensor, "batch frames cepstra"]:
        waveforms = F.pad(32768.0 * waveforms, (0, max(0, WINDOW - waveforms.shape[1])))
        emphasized = waveforms - 0.97 * F.pad(waveforms, (1, -1))
        windows = emphasized.unfold(1, WINDOW, HOP) * self.window
        spectra = torch.fft.rfft(windows, POINTS)
        power = spectra.real.square() + spectra.imag.square()
        return (power @ self.triangles).clamp(min=1e-4).log() @ self.cosines


def _log_densities(
    x: Float[Tensor, "batch frames cepstra"],
    mean: Float[Tensor, "phones densities cepstra"],
    variance: Float[Tensor, "phones densities cepstra"],
) -> Float[Tensor, "batch frames phones densities"]:
    """Compute the log density of each frame under each diagonal Gaussian, the square expanded."""
    precision = 1.0 / variance
    constant = (mean.square() * precision + (2 * math.pi * variance).log()).sum(dim=-1)
    quadratic = torch.einsum("btc,pdc->btpd", x.square(), precision)
    linear = torch.einsum("btc,pdc->btpd", x, mean * precision)
    return linear.sub_(quadratic.add_(constant), alpha=0.5)


def _centered(
    cepstra: Float[Tensor, "batch frames cepstra"], num_frames: Int[Tensor, " batch"]
) -> Float[Tensor, "batch frames cepstra"]:
    """Take off the mean over the valid frames of each row."""
    valid = torch.arange(cepstra.shape[1], device=cepstra.device) < num_frames[:, None]
    total = torch.where(valid[..., None], cepstra, 0.0).sum(dim=1, keepdim=True)
    return cepstra - total / num_frames.clamp(min=1)[:, None, None]


def _with_differences(
    cepstra: Float[Tensor, "batch frames cepstra"], num_frames: Int[Tensor, " batch"]
) -> Float[Tensor, "batch frames 3 cepstra"]:
    """Sphinx's `1s_c_d_dd`: the differences over four frames, and theirs over two."""
    at = {by: neighbor(cepstra, num_frames, by) for by in (-3, -2, -1, 1, 2, 3)}
    second = (at[3] - at[-1]) - (at[1] - at[-3])
    return torch.stack([cepstra, at[2] - at[-2], second], dim=2)


def mel_triangles() -> Float[Tensor, "points mels"]:
    """Triangles of unit area, whose corners are rounded to points of the transform."""
    low, high = (2595.0 * math.log10(1.0 + edge / 700.0) for edge in (LOWEST, HIGHEST))
    mels = torch.linspace(low, high, NUM_MELS + 2, dtype=torch.float64)
    width = 16000 / POINTS
    corners = (700.0 * (10.0 ** (mels / 2595.0) - 1.0) / width + 0.5).floor() * width
    left, center, right = corners.unfold(0, 3, 1).T
    at = width * torch.arange(POINTS // 2 + 1, dtype=torch.float64)[:, None]
    rising, falling = (at - left) / (center - left), (right - at) / (right - center)
    return (torch.minimum(rising, falling).clamp(min=0.0) * 2.0 / (right - left)).float()


def _liftered_cosines() -> Float[Tensor, "mels cepstra"]:
    order = torch.arange(NUM_CEPSTRA, dtype=torch.float64)
    center = torch.arange(NUM_MELS, dtype=torch.float64)[:, None] + 0.5
    scale = torch.where(order == 0, 1.0, 2.0).div(NUM_MELS).sqrt()
    lifter = 1.0 + LIFTER / 2 * (math.pi * order / LIFTER).sin()
    return ((math.pi * order * center / NUM_MELS).cos() * scale * lifter).float()


def _read_gaussians(path: Path) -> Float[Tensor, "phones streams densities cepstra"]:
    """Read SphinxTrain's file of means or variances: a text header, then counts, then values."""
    content = _content(path)
    header, end, body = content.partition(b"endhdr\n")
    if not header.startswith(b"s3") or not end or body[:4] != struct.pack("<I", 0x11223344):
        raise UserError(f"{path}: no file of Gaussians of SphinxTrain in little-endian order")
    try:
        phones, streams, densities = struct.unpack_from("<3i", body, 4)
        *dims, count = struct.unpack_from(f"<{max(streams, 0) + 1}i", body, 16)
    except struct.error as error:
        raise UserError(f"{path}: ends within its counts; fetch it again") from error
    values = body[16 + 4 * (streams + 1) :][: 4 * count]
    expected = phones * streams * densities * NUM_CEPSTRA
    if set(dims) != {NUM_CEPSTRA} or not 0 < count == expected:
        raise UserError(
            f"{path}: {count} values of streams of {dims} dimensions for {phones} phones with "
            f"{densities} Gaussians, expected {NUM_CEPSTRA} dimensions each"
        )
    if len(values) != 4 * count:
        raise UserError(f"{path}: ends after {len(values) // 4} of {count} values; fetch it again")
    flat = torch.frombuffer(bytearray(values), dtype=torch.float32)
    return flat.view(phones, streams, densities, NUM_CEPSTRA)


def _read_weights(
    path: Path, streams: int, densities: int, count: int
) -> Float[Tensor, "streams densities states"]:
    """Read the log weights of the first `count` states: lines of a header, then bytes."""
    content, place, lines = _content(path), 0, []
    try:
        while length := struct.unpack_from("<I", content, place)[0]:
            lines.append(content[place + 4 : place + 4 + length].rstrip(b"\0"))
            place += 4 + length
        rows, states = struct.unpack_from("<2i", content, place + 4)
    except struct.error as error:
        raise UserError(f"{path}: ends within its header; fetch it again") from error
    values = content[place + 12 :]
    if b"cluster_count 0" not in lines or rows != densities or states < count:
        raise UserError(
            f"{path}: weights of {states} states and {rows} Gaussians, expected at least {count} "
            f"and {densities}, without clusters"
        )
    if len(values) != streams * densities * states:
        raise UserError(
            f"{path}: {len(values)} weights, expected {streams} x {densities} x {states}"
        )
    whole = torch.frombuffer(bytearray(values), dtype=torch.uint8)
    return -WEIGHT_STEP * whole.view(streams, densities, states)[..., :count].float()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; an acoustic model of Sphinx has it") from error
