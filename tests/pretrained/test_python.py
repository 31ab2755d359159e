import pytest

from audiossl.errors import UserError
from audiossl.pretrained.load import load_encoder


def test_a_class_of_ones_own_is_loaded():
    assert load_encoder("python:tests.models.encoders:Windows").dim == 6


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("tests.models.encodres:Windows", "No module named 'tests.models.encodres'"),
        ("tests.models.encoders:Window", "has no 'Window'; did you mean 'Windows'"),
        ("collections:OrderedDict", "is no encoder, it lacks sample_rate, frame_rate, dim"),
    ],
)
def test_what_is_no_encoder_is_refused(place, message):
    with pytest.raises(UserError, match=message):
        load_encoder(f"python:{place}")
