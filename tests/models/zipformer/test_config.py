import pytest

from audiossl.errors import UserError
from audiossl.models.zipformer.config import ZipformerConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strides": (1, 2)}, "strides has 2 elements, num_layers has 7"),
        ({"kernel_sizes": (31,) * 6 + (30,)}, "must be odd, found 30"),
        ({"output_stride": 3}, "expected 1 or 2"),
        ({"unmasked_dim": 600}, "more than dim 512"),
        ({"num_heads": 0}, "num_heads must be at least 1, found 0"),
        ({"num_layers": (1, 0, 1, 1, 1, 1, 1)}, "num_layers must be at least 1, found 0"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(settings, message):
    with pytest.raises(UserError, match=message):
        ZipformerConfig(**settings)
