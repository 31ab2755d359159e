import pytest
import torch

from audiossl.models.properties import PROPERTIES, check_encoder
from tests.models import encoders


def _broken(encoder) -> set[str]:
    torch.set_num_threads(1)
    return {f.name for f in check_encoder(encoder.eval()) if f.holds is False}


def test_an_encoder_that_keeps_its_promises_passes():
    findings = list(check_encoder(encoders.Windows().eval()))
    assert [finding.name for finding in findings] == list(PROPERTIES)
    assert not [finding for finding in findings if finding.holds is False]


@pytest.mark.parametrize(
    ("encoder", "broken"),
    [
        (encoders.PaddingLeaks, "padding changes nothing"),
        (encoders.LengthsRoundUp, "lengths are exact"),
        (encoders.WrongRate, "frames keep time"),
        (encoders.WrongDim, "shapes and types"),
        (encoders.DropsOut, "deterministic"),
        (encoders.DividesBySilence, "finite on any input"),
        (encoders.Forgets, "save and load"),
        (encoders.CountsFromTheStart, "chunks agree"),
        (encoders.ShortLayer, "layers of one length"),
    ],
)
def test_a_broken_promise_is_found(encoder, broken):
    assert broken in _broken(encoder())


def test_an_exception_is_a_finding():
    class Fails(encoders.Windows):
        def forward(self, waveforms, lengths):
            raise RuntimeError("no kernel\nlong story")

    findings = list(check_encoder(Fails().eval()))
    assert all(finding.holds is False for finding in findings)
    assert findings[0].details == "RuntimeError: no kernel"
