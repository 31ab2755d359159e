"""Codes that say whose they are: a code array travels with its quantizer's id and a checksum.

Beside `frames.py`, below the rooms that make codes, keep them and learn from them.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Integer
from torch import Tensor

from audiossl.errors import UserError


@dataclass(frozen=True)
class Codes:
    """Codes of one cut."""

    values: Integer[Tensor, "frames codebooks"]
    """Index of the chosen entry in each codebook."""
    quantizer_id: str
    """Id of the quantizer that chose them."""
    frame_rate: float
    """Frames a second."""

    def receipt(self) -> dict[str, Any]:
        """What is stored beside the array, as JSON can hold it, for `read_codes` to check."""
        num_frames, num_codebooks = self.values.shape
        return {
            "quantizer_id": self.quantizer_id,
            "frame_rate": self.frame_rate,
            "num_frames": num_frames,
            "num_codebooks": num_codebooks,
            "checksum": checksum(self.values),
        }

    def check_made_by(self, quantizer_id: str, name: str) -> None:
        """Refuse codes of another quantizer.

        Args:
            quantizer_id: Id of the quantizer that this run uses.
            name: Which cut the codes belong to, for the message.

        Raises:
            UserError: Another quantizer chose these codes.
        """
        if self.quantizer_id != quantizer_id:
            raise UserError(
                f"{name}: codes of quantizer {self.quantizer_id}, but this run uses quantizer "
                f"{quantizer_id}: encode the cuts with it, or give this run the other one"
            )


WRITTEN = ("quantizer_id", "frame_rate", "num_frames", "num_codebooks", "checksum")


def read_codes(values: np.ndarray, receipt: dict[str, Any], name: str) -> Codes:
    """Put together what was stored, if it is whole.

    Args:
        values: (frames, codebooks), as read from disk.
        receipt: What `Codes.receipt` gave when it was written.
        name: Which cut the codes belong to, for the message.

    Raises:
        UserError: The array is truncated or changed, or the receipt is not one.
    """
    missing = [key for key in WRITTEN if key not in receipt]
    if missing:
        raise UserError(f"{name}: its codes come without {', '.join(missing)}: encode it again")
    expected = (receipt["num_frames"], receipt["num_codebooks"])
    if values.shape != expected:
        raise UserError(
            f"{name}: codes are damaged: {values.shape} on disk, {expected} written; "
            "encode it again"
        )
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if checksum(tensor) != receipt["checksum"]:
        raise UserError(f"{name}: codes are damaged: their checksum differs; encode it again")
    return Codes(tensor, receipt["quantizer_id"], receipt["frame_rate"])


def checksum(values: Integer[Tensor, "*shape"]) -> str:
    """CRC-32 of the values as 8 hex digits, the same for every integer type that holds them.

    Example:
        >>> checksum(torch.tensor([[1, 2]])) == checksum(torch.tensor([[1, 2]], dtype=torch.uint8))
        True
    """
    return f"{zlib.crc32(values.to('cpu', torch.int32).contiguous().numpy().data):08x}"
