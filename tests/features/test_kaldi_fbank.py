from pathlib import Path

import jaxtyping
import pytest
import soundfile
import torch
from torchaudio.compliance import kaldi

from audiossl.features.kaldi_fbank import FLOOR, PADDING, KaldiFbank, KaldiFbankConfig

DATA = Path(__file__).parents[2] / "egs" / "mini" / "data"
FBANK = KaldiFbank(KaldiFbankConfig())


def fbank(waveform):
    return FBANK(waveform[None], torch.tensor([len(waveform)]))[0]


def oracle(waveform):
    return kaldi.fbank(
        waveform[None], num_mel_bins=128, low_freq=20.0, high_freq=-400.0, dither=0.0,
        snip_edges=False, energy_floor=1e-10, sample_frequency=16000.0,
    )  # fmt: skip


def test_two_sines_have_the_authors_values():
    time = torch.arange(16000, dtype=torch.float64) / 16000
    low = 0.5 * torch.sin(2 * torch.pi * 440 * time)
    high = 0.25 * torch.sin(2 * torch.pi * 1234.5 * time + 0.3)
    frames = fbank((low + high).float())
    assert frames.shape == (100, 128)
    bins = [0, 1, 10, 20, 40, 64, 100, 127]
    expected = [-4.0527, -15.9424, -1.7079, 2.0129, -5.2289, -0.5920, -2.8205, -6.6410]
    torch.testing.assert_close(frames[0, bins], torch.tensor(expected), atol=2e-3, rtol=0)
    expected = [-10.4244, -15.9424, -7.9950, -1.0557, -11.3096, -12.7198, -15.9424, -15.9424]
    torch.testing.assert_close(frames[50, bins], torch.tensor(expected), atol=2e-3, rtol=0)
    assert float(frames.mean()) == pytest.approx(-10.87507, abs=1e-3)
    assert float(frames.std()) == pytest.approx(5.95485, abs=1e-3)


@pytest.mark.parametrize("kind", ["speech", "music", "sounds"])
def test_real_audio_has_the_values_of_torchaudio(kind):
    paths = sorted(path for path in (DATA / kind).rglob("*") if path.suffix in (".flac", ".ogg"))
    assert paths
    beyond = total = 0
    for path in paths[:: len(paths) // 10]:
        samples, rate = soundfile.read(path, dtype="float32", frames=16000 * 5, always_2d=True)
        # What is not at 16 kHz is heard slower: any sound will do.
        assert rate >= 16000
        waveform = torch.from_numpy(samples[:, 0])
        difference = (fbank(waveform) - oracle(waveform)).abs()
        exact = (fbank(waveform) - oracle(waveform.double())).abs()
        beyond, total = beyond + int((difference > 2e-3).sum()), total + difference.numel()
        # Rounding of fp32, which torchaudio's own result has too, where a band is all but silent.
        assert float(difference.max()) < 6e-3
        assert float(exact.max()) < 6e-3
    assert beyond <= 1e-4 * total


@pytest.mark.parametrize("samples", [79, 80, 120, 239, 240, 399, 400, 401, 560, 1000])
def test_short_waveforms_are_mirrored_as_kaldi_does(samples):
    waveform = 0.1 * torch.randn(samples)
    found = fbank(waveform)
    assert len(found) == (samples + 80) // 160
    if samples >= 400:
        # torchaudio wants a whole window.
        torch.testing.assert_close(found, oracle(waveform), atol=2e-3, rtol=0)
    assert found.isfinite().all()


def test_a_waveform_is_analyzed_as_if_it_were_alone():
    lengths = torch.tensor([8000, 5431, 300, 0])
    waveforms = 0.1 * torch.randn(4, 8000)
    for row, length in enumerate(lengths.tolist()):
        waveforms[row, length:] = float("nan")
    together = FBANK(waveforms, lengths)
    assert FBANK.lengths(lengths).tolist() == [50, 34, 2, 0]
    for row, length in enumerate(lengths.tolist()):
        valid = (length + 80) // 160
        alone = fbank(waveforms[row, :length])
        torch.testing.assert_close(together[row, :valid], alone, atol=1e-4, rtol=0)
        assert bool((together[row, valid:] == PADDING).all())


def test_silence_is_at_the_floor():
    frames = fbank(torch.zeros(1600))
    torch.testing.assert_close(frames, torch.full_like(frames, torch.tensor(FLOOR).log().item()))


def test_a_constant_is_silence():
    frames = fbank(torch.full((3200,), 0.5))
    assert float(frames.max()) < -10.0


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_an_onnx_graph_of_any_batch_and_duration_computes_the_same(tmp_path, monkeypatch):
    # Sizes are symbols while a graph is traced, which are not checked as numbers are.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    batch, samples = torch.export.Dim("batch"), torch.export.Dim("samples", min=400, max=2**24)
    program = torch.onnx.export(
        FBANK.eval(),
        (0.1 * torch.randn(2, 16000), torch.tensor([16000, 9000])),
        dynamic_shapes={"waveforms": {0: batch, 1: samples}, "lengths": {0: batch}},
        dynamo=True,
        verbose=False,
    )
    program.save(tmp_path / "fbank.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "fbank.onnx")
    for size in (16000, 23457):
        waveforms, lengths = 0.1 * torch.randn(3, size), torch.tensor([size, 9000, 500])
        inputs = {"waveforms": waveforms.numpy(), "lengths": lengths.numpy()}
        found = torch.from_numpy(session.run(None, inputs)[0])
        torch.testing.assert_close(found, FBANK(waveforms, lengths), atol=2e-3, rtol=0)


def test_autocast_does_not_reach_it():
    waveform = 0.1 * torch.randn(4000)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(fbank(waveform), fbank(waveform).float())
    assert torch.equal(fbank(waveform), fbank(waveform))
