"""A batch of cuts with random codes, and a network small enough for tests."""

import torch

from audiossl.batches import CodeBatch, DataFacts, Target
from audiossl.methods.masked_codes import MaskedCodes, MaskedCodesConfig
from audiossl.models.zipformer.config import ZipformerConfig
from audiossl.models.zipformer.model import Zipformer

TARGETS = {"speech": Target(4, 16, 50.0), "audio": Target(2, 32, 25.0)}
SMALL = ZipformerConfig(
    dim=16,
    feed_forward_dim=32,
    num_layers=(1, 1),
    strides=(1, 2),
    kernel_sizes=(7, 7),
    num_heads=2,
    query_dim=4,
    position_dim=8,
    value_dim=4,
    unmasked_dim=8,
    machinery=False,
)


def code_batch(rows: int = 4, seconds: float = 1.2, seed: int = 0) -> CodeBatch:
    """Cuts of both domains in turn, of several lengths."""
    generator = torch.Generator().manual_seed(seed)
    size = round(16000 * seconds)
    lengths = size - 640 * torch.randint(0, 10, (rows,), generator=generator)
    waveforms = 0.1 * torch.randn(rows, size, generator=generator)
    waveforms *= torch.arange(size) < lengths[:, None]
    codes = {}
    for name, target in TARGETS.items():
        frames = int(seconds * target.frame_rate)
        shape = (rows, frames, target.num_codebooks)
        values = torch.randint(0, target.codebook_size, shape, generator=generator)
        valid = torch.arange(frames) < (lengths * target.frame_rate // 16000)[:, None]
        codes[name] = values.masked_fill(~valid[..., None], -100)
    noise = 0.1 * torch.randn(rows, size, generator=generator)
    return CodeBatch(waveforms, lengths, torch.arange(rows) % 2, codes, noise)


def masked_codes(
    config: MaskedCodesConfig | None = None,
    targets: dict[str, Target] | None = None,
    encoder: ZipformerConfig = SMALL,
) -> MaskedCodes:
    """A method with fresh weights, the same each time."""
    torch.manual_seed(0)
    config = MaskedCodesConfig() if config is None else config
    data = DataFacts(seconds_per_step=10.0, targets=targets or TARGETS)
    return MaskedCodes(Zipformer(encoder), config, data)
