"""What a quantizer is: frames to codes and back, known by an id that is a hash of its content."""

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from audiossl.digests import digest_of_bytes
from audiossl.errors import Skip, UserError
from audiossl.nn.digests import digest_of_tensors


@runtime_checkable
class Quantizer(Protocol):
    """Frames to codes and back: all that stages, methods and stored codes rely on."""

    dim: int
    """Dimension of a frame."""
    num_codebooks: int
    """Codes a frame."""
    codebook_size: int
    """Entries a codebook has."""

    @property
    def id(self) -> str:
        """16 hex digits that change with anything that could change a code."""
        ...

    def encode(self, frames: Float[Tensor, "*batch dim"]) -> Integer[Tensor, "*batch codebooks"]:
        """Choose an entry of each codebook for each frame."""
        ...

    def decode(self, codes: Integer[Tensor, "*batch codebooks"]) -> Float[Tensor, "*batch dim"]:
        """Approximate the frames that `codes` stand for."""
        ...


class CodebookQuantizer(nn.Module):
    """What the quantizers of this room share: checks of what comes in, chunks, and the id.

    A new one says its `kind`, its `settings`, and how a chunk is encoded and decoded.
    """

    kind: ClassVar[str]
    """Name in files."""
    frames_per_chunk: ClassVar[Mapping[str, int]] = {"cpu": 1024, "cuda": 16384}
    """Frames encoded at once, by type of device: bounds memory whatever the number of frames."""
    dim: int
    num_codebooks: int
    codebook_size: int

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Arguments that build an untrained quantizer of the same shapes; JSON can hold them."""

    @abstractmethod
    def encode_chunk(self, frames: Float[Tensor, "frames dim"]) -> Integer[Tensor, "frames books"]:
        """Encode as many frames as fit into memory."""

    @abstractmethod
    def decode_chunk(self, codes: Integer[Tensor, "frames books"]) -> Float[Tensor, "frames dim"]:
        """Decode codes of type int64 that are known to be in range."""

    def deciding_state(self) -> Mapping[str, Tensor]:
        """Tensors that decide which codes a frame gets; the id is a hash of them."""
        return self.state_dict()

    @property
    def id(self) -> str:
        """16 hex digits that change with anything that could change a code.

        Hashed anew each time, from float32 copies on the CPU: the same on every device and in
        every precision. Keep it where it is needed for many cuts.
        """
        return content_id(self.kind, self.settings(), self.deciding_state())

    def encode(self, frames: Float[Tensor, "*batch dim"]) -> Integer[Tensor, "*batch codebooks"]:
        """Choose an entry of each codebook for each frame.

        Args:
            frames: Any number of frames, on any device; chunks of them visit the quantizer's.

        Returns:
            uint8 where a byte holds a code, else int16 or int32, on the device of `frames`.

        Raises:
            UserError: The frames have another dimension than those of the training.
            Skip: A frame is NaN or infinite.
        """
        return self.in_chunks(frames, self.encode_chunk)

    def in_chunks(
        self, frames: Float[Tensor, "*batch dim"], encode: Callable[[Tensor], Tensor]
    ) -> Integer[Tensor, "*batch codebooks"]:
        """Apply `encode`, which takes (frames, dim), to as many frames at once as memory allows."""
        self.check_dim(frames.shape[-1])
        anchor = next(chain(self.parameters(), self.buffers()))
        rows = frames.detach().reshape(-1, self.dim)
        codes = torch.empty(
            len(rows), self.num_codebooks, dtype=code_dtype(self.codebook_size), device=rows.device
        )
        step = self.frames_per_chunk.get(anchor.device.type, 1024)
        # Autocast would round the inner products that decide between entries.
        with torch.no_grad(), torch.autocast(anchor.device.type, enabled=False):
            for start in range(0, len(rows), step):
                chunk = rows[start : start + step].to(anchor)
                _check_finite(chunk, start)
                codes[start : start + step] = encode(chunk)
        return codes.reshape(*frames.shape[:-1], self.num_codebooks)

    def decode(self, codes: Integer[Tensor, "*batch codebooks"]) -> Float[Tensor, "*batch dim"]:
        """Approximate the frames that `codes` stand for.

        Raises:
            UserError: The codes are not those of this quantizer: too many books, or out of range.
        """
        self.check_codes(codes)
        rows = codes.reshape(-1, self.num_codebooks).long()
        with torch.no_grad():
            return self.decode_chunk(rows).reshape(*codes.shape[:-1], self.dim)

    def check_dim(self, dim: int) -> None:
        """Refuse frames of another dimension.

        Raises:
            UserError: `dim` is not that of the frames of the training.
        """
        if dim != self.dim:
            raise UserError(
                f"{self.kind} quantizer {self.id} takes frames of {self.dim} dimensions, "
                f"got {dim}: was it trained on another teacher, or on another layer?"
            )

    def check_codes(self, codes: Integer[Tensor, "*batch codebooks"]) -> None:
        """Refuse what cannot be codes of this quantizer.

        Raises:
            UserError: The number of codebooks differs, or a code is out of range.
        """
        if codes.shape[-1] != self.num_codebooks:
            raise UserError(
                f"{self.kind} quantizer {self.id} has {self.num_codebooks} codebooks, but there "
                f"are {codes.shape[-1]} codes a frame: whose codes are they?"
            )
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.codebook_size:
            raise UserError(
                f"codes from {int(codes.min())} to {int(codes.max())}, but the codebooks of "
                f"{self.kind} quantizer {self.id} hold {self.codebook_size} entries: whose codes "
                "are they?"
            )


def content_id(kind: str, settings: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    """Hash what decides the codes into 16 hex digits.

    Args:
        kind: Name of the algorithm.
        settings: Its settings.
        state: Its tensors.
    """
    floats = {n: v.float() if v.is_floating_point() else v for n, v in state.items()}
    content = f"{kind} {json.dumps(settings, sort_keys=True)} {digest_of_tensors(floats)}"
    return digest_of_bytes([content.encode()])


def code_dtype(codebook_size: int) -> torch.dtype:
    """Choose the smallest type that holds the codes of a codebook.

    Example:
        >>> code_dtype(256), code_dtype(257)
        (torch.uint8, torch.int16)
    """
    if codebook_size <= 2**8:
        return torch.uint8
    return torch.int16 if codebook_size <= 2**15 else torch.int32


def _check_finite(frames: Float[Tensor, "frames dim"], start: int) -> None:
    finite = frames.isfinite().all(dim=1)
    if not finite.all():
        first = start + int(finite.int().argmin())
        raise Skip(
            f"frame {first} is NaN or infinite and has no code: check the input of its teacher"
        )
