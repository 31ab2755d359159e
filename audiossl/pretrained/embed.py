"""`embed`: clips of any kind and length to vectors, in one line and in bounded memory."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from audiossl.audio.presentation import CHUNK
from audiossl.distributed import choose_device
from audiossl.errors import Skip, UserError
from audiossl.models.batching import encode_all
from audiossl.models.encoder import Encoder, presentation_of
from audiossl.pretrained.inputs import Lengths
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.pieces import Embedded, Pieces, frames_of, vectors_of
from audiossl.pretrained.sounds import Clips, list_clips, without_padding

DEFAULT = "audiossl:small"
"""What embeds where no encoder is named: the small encoder that comes with this package."""


def embed(
    clips: Clips,
    encoder: nn.Module | str | Path = DEFAULT,
    *,
    sample_rate: int | None = None,
    lengths: Lengths | None = None,
    chunk: float = CHUNK,
    device: str = "auto",
) -> Float[Tensor, "clips dim"]:
    """Embed audio: one vector a clip.

    Files may be of any format, sample rate, number of channels and length. Clips are presented to
    the encoder as in its pretraining: whole, or in windows, whose vectors are averaged. One that
    would be presented whole and is longer than 1.5 chunks is encoded in equal pieces of about
    `chunk` seconds, whose vectors are averaged, too.

    >>> import numpy as np
    >>> embed(np.zeros(16000)).shape
    torch.Size([1, 1392])
    >>> embed(np.zeros((2, 8000)), "log_mel:40", sample_rate=8000, lengths=[8000, 5000]).shape
    torch.Size([2, 40])

    Args:
        clips: Audio files: a path, a pattern ("clips/**/*.wav"), a folder (all audio in it, at any
            depth), or several of them. Or waveforms in memory, of NumPy or torch: one (samples,), a
            batch (clips, samples), or a list of arrays.
        encoder: What `load_encoder` returns, or what it takes. By default the small encoder that
            comes with this package.
        sample_rate: Rate of waveforms in memory, Hz; None: that of the encoder.
        lengths: Valid samples of each waveform of a batch; None: all.
        chunk: Seconds that are encoded at once of longer clips.
        device: Where to compute: "auto" (an accelerator if there is one), "cpu", "cuda:1", ...

    Raises:
        UserError: A clip cannot be read or is shorter than a frame (says which and why), a pattern
            matches nothing, or a folder holds no audio.
    """
    if lengths is not None:
        clips = without_padding(clips, lengths)
    return embed_files(
        clips, encoder, sample_rate=sample_rate, chunk=chunk, device=device
    ).stacked()


def embed_files(
    clips: Clips,
    encoder: nn.Module | str | Path,
    *,
    sample_rate: int | None = None,
    frames: bool | Callable[[Tensor], Tensor] = False,
    chunk: float = CHUNK,
    device: str = "auto",
    on_skip: Callable[[Skip], None] | None = None,
) -> Embedded:
    """Embed clips as `embed` does, and say which.

    Args:
        clips: As in `embed`.
        encoder: As in `embed`.
        sample_rate: As in `embed`.
        frames: Keep the frames (frames, dim) of each clip rather than its vector; a function: what
            it makes of them, one row a frame.
        chunk: As in `embed`.
        device: As in `embed`.
        on_skip: Called with the reason for each clip that cannot be embedded, which is then left
            out; without it the first one is raised.

    Raises:
        UserError: As `embed` does; or all clips were left out.
    """
    if not 0 < chunk < math.inf:
        raise UserError(f"chunk {chunk}: expected a number of seconds above 0")
    chosen = choose_device(device)
    network = encoder if isinstance(encoder, nn.Module) else load_encoder(encoder)
    ready = cast(Encoder, network.to(chosen))
    listed = list_clips(clips, ready.sample_rate, sample_rate)
    pieces, shown = Pieces(listed, ready, chunk, bool(frames), on_skip), presentation_of(ready)
    keep = vectors_of(shown.pooling)
    if frames:
        keep = frames_of(frames if callable(frames) else Tensor.float)
    for outputs in encode_all(ready, pieces, keep, leveled=shown.level != "own", device=chosen):
        pieces.take(outputs)
    if not pieces.result.paths:
        raise UserError(f"none of the files can be read: {pieces.last_reason}")
    return pieces.result
