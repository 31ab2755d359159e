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
        (encoders.LosesTime, "long files"),
        (encoders.RootOfZero, "gradients reach the input"),
    ],
)
def test_a_broken_promise_is_found(encoder, broken):
    assert broken in _broken(encoder())


def _found(encoder) -> dict[str, tuple]:
    return {f.name: (f.holds, f.details) for f in check_encoder(encoder.eval())}


def test_figures_are_in_units_that_a_reader_can_follow():
    found = _found(encoders.Windows())
    assert found["shapes and types"][1].startswith(
        "16 kHz in, 100 Hz out (a frame every 10 ms), 6 values"
    )
    assert "2000 frames in 20 s are 100 Hz" in found["frames keep time"][1]
    assert "10 ms (160 samples) have a frame" in found["shortest clip"][1]
    assert "zeros, which embed leaves out" in found["shortest clip"][1]
    assert found["gradients reach the input"] == (True, "finite, at 100% of the samples")


def test_a_front_end_without_gradients_is_said_and_no_failure():
    class Detached(encoders.Windows):
        def forward(self, waveforms, lengths):
            with torch.no_grad():
                return super().forward(waveforms, lengths)

    assert _found(Detached())["gradients reach the input"][0] is None


def test_an_encoder_of_clip_vectors_alone_is_not_asked_for_frames():
    class Clips(encoders.Windows):
        frame_rate = 0.0

    found = _found(Clips())
    assert found["long files"] == (None, "no frames: this encoder gives clip vectors alone")
    assert not [name for name, (holds, _) in found.items() if holds is False]


def test_an_exception_is_a_finding():
    class Fails(encoders.Windows):
        def forward(self, waveforms, lengths):
            raise RuntimeError("no kernel\nlong story")

    findings = list(check_encoder(Fails().eval()))
    assert all(finding.holds is False for finding in findings)
    assert findings[0].details == "RuntimeError: no kernel"
