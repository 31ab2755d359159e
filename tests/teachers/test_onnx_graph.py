import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from audiossl import embed
from audiossl.errors import UserError
from audiossl.models.properties import check_encoder
from audiossl.pretrained.identity import encoder_identity
from audiossl.pretrained.load import load_encoder
from tests.teachers.padding import check_padding_does_not_matter

HOP = 320
KERNEL = torch.randn(6, 1, HOP, generator=torch.Generator().manual_seed(5))


def _write(path, *, knows_lengths=False, **metadata):
    """A convolution of windows of 20 ms, as a graph; with lengths, it counts frames."""
    audio = helper.make_tensor_value_info("waveforms", TensorProto.FLOAT, ["batch", "samples"])
    frames = helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", "time", 6])
    lengths = helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"])
    counts = helper.make_tensor_value_info("counts", TensorProto.INT64, ["batch"])
    constants = {
        "kernel": KERNEL.numpy(),
        "axis": torch.tensor([1]).numpy(),
        "hop": torch.tensor(HOP).numpy(),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["waveforms", "axis"], ["channels"]),
        helper.make_node("Conv", ["channels", "kernel"], ["made"], strides=[HOP]),
        helper.make_node("Transpose", ["made"], ["frames"], perm=[0, 2, 1]),
    ]
    if knows_lengths:
        nodes.append(helper.make_node("Div", ["lengths", "hop"], ["counts"]))
    graph = helper.make_graph(
        nodes,
        "encoder",
        [audio, lengths] if knows_lengths else [audio],
        [frames, counts] if knows_lengths else [frames],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {name: str(value) for name, value in metadata.items()})
    onnx.save(model, path)
    return f"onnx:{path}"


@pytest.mark.parametrize("knows_lengths", [True, False])
def test_a_graph_gives_what_the_same_network_gives_in_torch(knows_lengths, tmp_path):
    encoder = load_encoder(_write(tmp_path / "x.onnx", knows_lengths=knows_lengths))
    assert (encoder.sample_rate, encoder.frame_rate, encoder.dim) == (16000, 50.0, 6)
    waveforms = 0.1 * torch.randn(2, 9000)
    frames = encoder(waveforms, torch.tensor([9000, 5000]))
    expected = torch.nn.functional.conv1d(waveforms[:, None], KERNEL, stride=HOP).mT
    assert frames.lengths.tolist() == [28, 15]
    torch.testing.assert_close(frames.vectors[0], expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(frames.vectors[1, :15], expected[1, :15], atol=1e-5, rtol=1e-5)
    check_padding_does_not_matter(encoder)


def test_it_keeps_what_every_encoder_promises(tmp_path):
    encoder = load_encoder(_write(tmp_path / "x.onnx", knows_lengths=True))
    findings = {finding.name: finding for finding in check_encoder(encoder)}
    assert not [name for name, finding in findings.items() if finding.holds is False], findings
    assert findings["gradients reach the input"].holds is None


def test_rates_are_read_from_metadata_or_said_behind_the_name(tmp_path):
    source = _write(tmp_path / "x.onnx", sample_rate=8000, layer_convention="layer 3")
    encoder = load_encoder(source)
    assert (encoder.sample_rate, encoder.frame_rate) == (8000, 25.0)
    assert "layer 3" in encoder.layer_convention
    other = load_encoder(f"{source}?sample_rate=32000&frame_rate=100")
    assert (other.sample_rate, other.frame_rate) == (32000, 100.0)
    for rate in ("0.5", "16000.5", "nan"):
        with pytest.raises(UserError, match=f"sample_rate '{rate}': expected a whole number of Hz"):
            load_encoder(f"{source}?sample_rate={rate}")
    with pytest.raises(UserError, match=r"frame_rate 'fast': expected a number of Hz"):
        load_encoder(f"{source}?frame_rate=fast")


def test_clips_are_presented_as_the_graph_says(tmp_path):
    shown = '{"sample_rate": 16000, "window_samples": 4800, "padding": "none", "level": "l2"}'
    encoder = load_encoder(_write(tmp_path / "x.onnx", presentation=shown))
    assert encoder.presentation.window_samples == 4800
    sound = 0.1 * torch.randn(9600)
    windows = (sound / sound.norm()).view(2, 4800)
    frames = encoder(windows, torch.tensor([4800, 4800]))
    torch.testing.assert_close(embed([sound], encoder), frames.clip.mean(dim=0, keepdim=True))
    for wrong in ("no JSON", '{"window": 3}'):
        source = _write(tmp_path / "y.onnx", presentation=wrong)
        with pytest.raises(UserError, match=r"y.onnx: "):
            load_encoder(source)


def test_a_file_is_told_by_its_name_and_a_folder_by_its_graph(tmp_path):
    same = load_encoder(_write(tmp_path / "model.onnx"))
    for source in (tmp_path / "model.onnx", f"{tmp_path / 'model.onnx'}", f"onnx:{tmp_path}"):
        assert encoder_identity(load_encoder(source)) == encoder_identity(same)
    with pytest.raises(UserError, match=r"none.onnx: no such file of ONNX"):
        load_encoder("none.onnx")
    with pytest.raises(UserError, match=r"nowhere.onnx: no such file"):
        load_encoder("nowhere.onnx?sample_rate=8000")


def test_another_graph_is_another_encoder(tmp_path):
    first = encoder_identity(load_encoder(_write(tmp_path / "x.onnx")))
    assert first == encoder_identity(load_encoder(_write(tmp_path / "y.onnx")))
    assert first != encoder_identity(load_encoder(_write(tmp_path / "y.onnx", knows_lengths=True)))


def test_says_what_is_wrong_with_a_file(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"x.onnx: onnxruntime cannot load it"):
        load_encoder(f"onnx:{tmp_path / 'x.onnx'}")
    with pytest.raises(UserError, match=r"none.onnx: no such file"):
        load_encoder("onnx:none.onnx")
    audio = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", [audio], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "y.onnx")
    with pytest.raises(UserError, match=r"outputs of 2 axes: expected waveforms"):
        load_encoder(f"onnx:{tmp_path / 'y.onnx'}")
