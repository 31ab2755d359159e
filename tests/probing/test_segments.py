"""Timed segments, such as phones: read, embedded where they are, and probed."""

import numpy as np
import pytest
import torch

from audiossl.data.corpus import Corpus
from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.probing.embeddings import (
    EmbeddingConfig,
    embed_cuts,
    read_embeddings,
    write_embeddings,
)
from audiossl.probing.linear import LinearConfig
from audiossl.probing.measure import measure
from audiossl.probing.segment_embeddings import _timed, embed_segments, pooled_segments
from audiossl.probing.segments import Segment, parse_segments
from audiossl.probing.tasks import TaskConfig, build_task
from tests.data.corpora import prepare, write_folder
from tests.models.encoders import Windows

SEGMENTS = [[Segment(0.0, 0.2, "a"), Segment(0.2, 0.5, "b")], [], [Segment(0.05, 0.15, "a")]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_folder(folder / "audio", [0.5, 1.3, 0.2])
    prepare(folder / "audio", folder / "cuts")
    return Corpus(folder / "cuts")


def test_a_label_names_segments():
    assert parse_segments("0.51-0.60 e|0.6-1 g g|", "x") == [
        Segment(0.51, 0.6, "e"), Segment(0.6, 1.0, "g g"),
    ]  # fmt: skip
    assert parse_segments("", "x") == []


@pytest.mark.parametrize("text", ["0.5 e", "0.5-0.4 e", "0.5-0.6", "e|0-1 a", "0-nan a", "-1-2 a"])
def test_what_is_no_segment_is_named_with_its_cut(text):
    with pytest.raises(UserError, match=r"cut take7: .* is no segment: give begin-end in seconds"):
        parse_segments(text, "take7")


def test_a_segment_is_the_mean_of_the_frames_whose_centers_lie_in_it():
    times = torch.arange(10) / 10 + 0.05
    frames = torch.arange(10.0)[:, None]
    found = pooled_segments(times, frames, [
        Segment(0.0, 0.3, "three"), Segment(0.31, 0.34, "none"), Segment(0.9, 2.0, "last"),
        Segment(3.0, 4.0, "beyond"), Segment(0.0, 1.0, "all"),
    ])  # fmt: skip
    assert found[:, 0].tolist() == [1.0, 3.0, 9.0, 9.0, 4.5]


def test_frames_know_their_time():
    layers = (torch.zeros(1, 6, 1),)
    slower = Frames(
        torch.zeros(1, 3, 1), torch.tensor([3]), 25.0, layers, layer_rate=50.0,
        layer_lengths=torch.tensor([6]), first_time=0.045,
    )  # fmt: skip
    np.testing.assert_allclose(slower.times_of_layers[:2], [0.045, 0.065])
    np.testing.assert_allclose(slower.times[:2], [0.055, 0.095])
    plain = Frames(torch.zeros(1, 3, 1), torch.tensor([3]), 50.0)
    np.testing.assert_allclose(plain.times, [0.01, 0.03, 0.05])
    np.testing.assert_allclose(plain.times_of_layers, plain.times)


def test_segments_are_embedded_in_the_context_of_their_cut(corpus):
    encoder = Windows().eval()
    config = EmbeddingConfig(layers=("output", "0"))
    found = embed_segments(corpus, range(3), SEGMENTS, encoder, config)
    assert set(found) == {"segments/output", "segments/layer0", "segments/rows"}
    assert found["segments/rows"].tolist() == [2, 0, 1]
    waveform = torch.from_numpy(corpus.waveform(0).copy())[None]
    with torch.inference_mode():
        frames = encoder(waveform, torch.tensor([waveform.shape[1]]))
    inside = (frames.times >= 0.2) & (frames.times < 0.5)
    expected = frames.vectors[0][inside].mean(dim=0)
    torch.testing.assert_close(found["segments/output"][1], expected)


def test_segments_survive_the_disk_beside_their_cuts(corpus, tmp_path):
    encoder, config = Windows().eval(), EmbeddingConfig(layers=("clip", "output"))
    for shard, cuts in enumerate(([0, 1], [2])):
        tensors = embed_cuts(corpus, cuts, encoder, config)
        own = embed_segments(corpus, cuts, [SEGMENTS[cut] for cut in cuts], encoder, config)
        write_embeddings(tmp_path / f"{shard}.safetensors", tensors | own, "key")
    found = read_embeddings([tmp_path / f"{shard}.safetensors" for shard in range(2)])
    assert set(found.vectors) == {"clip", "output.mean"}
    assert found.segments is not None
    places, cuts = np.array([0, 0, 1]), np.array([2, 0, 0])
    rows = found.segments.of_segments("output", cuts, places, np.zeros((3, 1), bool)).vectors
    whole = embed_segments(corpus, range(3), SEGMENTS, encoder, config)["segments/output"].numpy()
    np.testing.assert_array_equal(rows, whole[[2, 0, 1]])


def labeled(split, phones, number):
    return {"id": f"cut{number}", "split": split, "recording": f"r{number}", "phones": phones}


CUTS = [
    labeled("train", "0-0.1 a|0.1-0.2 pau|0.2-0.3 e", 0), labeled("train", "0-0.1 e|0.1-0.2 a", 1),
    labeled("valid", "0-0.1 a|0.1-0.2 e", 2), labeled("test", "0-0.1 pau|0.1-0.2 e|0.2-0.3 a", 3),
]  # fmt: skip
PHONES = TaskConfig(name="phone", label="phones", segments=True, drop=("pau",))


def test_every_segment_is_an_item_in_the_group_of_its_cut():
    task = build_task(PHONES, CUTS)
    assert task.classes == ("a", "e")
    assert task.ids[:2] == ("cut0@0", "cut0@0.2")
    assert task.places.tolist() == [0, 2, 0, 1, 0, 1, 1, 2]
    assert task.cuts.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert task.groups[:2].tolist() == ["r0", "r0"]


def test_probes_of_segments_want_embeddings_of_segments(corpus, tmp_path):
    tensors = embed_cuts(corpus, range(3), Windows().eval(), EmbeddingConfig())
    write_embeddings(tmp_path / "0.safetensors", tensors, "key")
    found = read_embeddings([tmp_path / "0.safetensors"])
    with pytest.raises(UserError, match="task phone: there are no embeddings of the segments"):
        measure(build_task(PHONES, CUTS), found, LinearConfig(), encoder="one")


def test_a_segment_has_one_class():
    with pytest.raises(UserError, match="a segment has one class"):
        TaskConfig(name="phone", label="phones", kind="multi", metric="pr_auc", segments=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_segments_are_read_where_they_are_whatever_the_layers_are(dtype):
    frames = Frames(
        vectors=torch.ones(1, 1000, 4, dtype=dtype), lengths=torch.tensor([1000]), frame_rate=50.0,
        layers=(torch.ones(1, 1000, 4, dtype=dtype),), first_time=0.045,
    )  # fmt: skip
    assert frames.times_of_layers.dtype == torch.float64
    (timed,) = _timed(frames, EmbeddingConfig(layers=("0",)))["layer0"]
    begins = (1.0, 5.0, 9.0, 17.0)
    segments = [Segment(begin, begin + 0.08, "x") for begin in begins]
    number = torch.arange(1000.0)[:, None]
    places = pooled_segments(timed[:, 0], number, segments)[:, 0] / 50 + 0.045
    # The mean of the frames inside lies within half a frame of the middle.
    assert (places - torch.tensor(begins) - 0.04).abs().max() <= 0.0101
