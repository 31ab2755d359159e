from importlib.util import find_spec

import pytest
import torch

from audiossl.errors import UserError
from audiossl.nn.wheels import file_of_wheel
from audiossl.teachers import silero
from tests.teachers.corpus import padded, rows, waveform
from tests.teachers.padding import check_padding_does_not_matter, check_short_rows_have_no_frames

needs_wheel = pytest.mark.skipif(find_spec("silero_vad") is None, reason="wheel not installed")


def test_padding_does_not_matter():
    torch.manual_seed(0)
    teacher = silero.SileroTeacher()
    check_padding_does_not_matter(teacher)
    check_short_rows_have_no_frames(teacher, too_short=0)


@needs_wheel
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_frames_are_the_states_of_the_wheels_own_detector():
    """Its newest weights in our network, chunk by chunk through its program."""
    theirs = torch.jit.load(file_of_wheel(silero.WHEEL, "silero_vad/data/silero_vad.jit"))
    weights = dict(theirs._model.named_parameters())
    teacher = silero.SileroTeacher()
    names = {f"conv{n}": f"encoder.{n - 1}.reparam_conv" for n in range(1, 5)}
    names["final_conv"] = "decoder.decoder.2"
    state = {
        f"{ours}.{part}": weights[f"{name}.{part}"].detach()
        for ours, name in names.items()
        for part in ("weight", "bias")
    }
    for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        state[f"lstm.{part}_l0"] = weights[f"decoder.rnn.{part}"].detach()
    # The transform is no parameter of theirs; it is the same in all files of the wheel.
    state["stft_conv.weight"] = silero.load().stft_conv.weight
    teacher.load_state_dict(state)
    waveform = 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = theirs.audio_forward(waveform, 16000)
        frames = teacher(waveform, torch.tensor([8000]))
        answers = teacher.probabilities(frames.vectors)
    assert frames.lengths.tolist() == [16] == [expected.shape[1]]
    torch.testing.assert_close(answers, expected, atol=1e-5, rtol=1e-4)


@needs_wheel
def test_speech_is_told_from_sounds():
    teacher = silero.load()

    def share(table):
        waveforms, lengths = padded([waveform(row) for row in rows(table)[:20]])
        frames = teacher(waveforms, lengths)
        answers = teacher.probabilities(frames.vectors)
        return torch.stack(
            [row[:count].mean() for row, count in zip(answers, frames.lengths, strict=True)]
        )

    speech, sounds = share("speech.csv"), share("sounds.csv")
    assert speech.min() > sounds.median()
    assert speech.mean() > 0.5 > 5 * sounds.mean()


def test_other_files_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"x\.pt"):
        silero.load(str(tmp_path / "x.pt"))
