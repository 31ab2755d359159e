import pytest
import torch

from audiossl.errors import UserError
from audiossl.models.modality_encoders import (
    ConvolutionsConfig,
    FramesConfig,
    GivenConfig,
    PianoRollConfig,
    TextConfig,
    build_modality_encoder,
)

CONVOLUTIONS = ConvolutionsConfig(dim=8, strides=(3, 2), blocks=1, kernel=5)
CONFIGS = {
    "frames": (FramesConfig(convolutions=CONVOLUTIONS), 5),
    "text": (TextConfig(convolutions=CONVOLUTIONS), 30),
    "piano_roll": (PianoRollConfig(convolutions=CONVOLUTIONS, pitch_channels=2), 264),
    "given": (GivenConfig(), 5),
}


def _values(kind: str, rows: int, length: int) -> torch.Tensor:
    if kind == "text":
        return torch.randint(30, (rows, length))
    return torch.randn(rows, length, CONFIGS[kind][1])


@pytest.mark.parametrize("kind", CONFIGS)
def test_padding_never_changes_a_valid_frame(kind):
    encoder = build_modality_encoder(*CONFIGS[kind], frame_rate=30.0).eval()
    values = _values(kind, 2, 20)
    lengths = torch.tensor([13, 20])
    alone = encoder(values[:1, :13], lengths[:1])
    found = encoder(values, lengths)  # what stands behind the 13 is not nothing
    count = int(alone.lengths[0])
    assert int(found.lengths[0]) == count == -(-13 // encoder.stride)
    torch.testing.assert_close(
        found.vectors[0, :count], alone.vectors[0, :count], atol=1e-5, rtol=1e-4
    )
    assert found.vectors.shape[2] == encoder.dim
    assert found.frame_rate == pytest.approx(30.0 / encoder.stride)


def test_rolls_of_another_width_and_even_kernels_are_refused():
    with pytest.raises(UserError, match="88 pitches"):
        build_modality_encoder(PianoRollConfig(), 100, 10.0)
    with pytest.raises(UserError, match="kernel 4"):
        build_modality_encoder(FramesConfig(convolutions=ConvolutionsConfig(kernel=4)), 5, 10.0)
