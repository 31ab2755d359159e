from dataclasses import replace

import numpy as np
import pytest
import torch

from audiossl.audio.presentation import Presentation
from audiossl.data.corpus import Corpus
from audiossl.errors import UserError
from audiossl.models.batching import Batching
from audiossl.nn.frames import Frames
from audiossl.probing.embeddings import (
    EmbeddingConfig,
    content_key,
    cut_windows,
    embed_cuts,
    encoder_digest,
    pooled,
    read_embeddings,
    write_embeddings,
)
from tests.data.corpora import prepare, write_folder
from tests.models.encoders import Windows


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_folder(folder / "audio", [0.5, 1.3, 0.2, 2.0, 0.9])
    prepare(folder / "audio", folder / "cuts")
    return Corpus(folder / "cuts")


def test_embeddings_are_what_the_encoder_says_of_each_cut_alone(corpus):
    encoder = Windows().eval()
    config = EmbeddingConfig(layers=("clip", "output", "0"), statistics=("mean", "max"))
    found = embed_cuts(corpus, range(5), encoder, config, batching=Batching(batch_seconds=2.5))
    names = {"clip", "output.mean", "output.max", "layer0.mean", "layer0.max", "rows"}
    assert set(found) == names
    for cut in range(5):
        waveform = torch.from_numpy(corpus.waveform(cut).copy())[None]
        with torch.inference_mode():
            frames = encoder(waveform, torch.tensor([waveform.shape[1]]))
        torch.testing.assert_close(found["clip"][cut], frames.clip[0])
        torch.testing.assert_close(found["output.max"][cut], frames.vectors[0].amax(dim=0))
        torch.testing.assert_close(found["layer0.mean"][cut], frames.layers[0][0].mean(dim=0))


def test_windows_are_whole_and_a_short_cut_is_one(corpus):
    config = EmbeddingConfig(window=0.5, hop=0.25)
    found = embed_cuts(corpus, range(5), Windows().eval(), config)
    # (duration - window) / hop + 1, of 0.5, 1.3, 0.2, 2.0 and 0.9 s.
    assert found["rows"].tolist() == [1, 4, 1, 7, 2]
    assert len(found["clip"]) == 15


def test_windows_are_cut_where_they_say():
    shown = Presentation(sample_rate=1, window_samples=4, hop_samples=3, padding="none")
    pieces = cut_windows(np.arange(10, dtype=np.float32), shown, 1.0)
    assert [piece.tolist() for piece in pieces] == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]


def test_padded_windows_lose_nothing_and_are_all_of_one_length():
    shown = Presentation(sample_rate=1, window_samples=4)
    rest = cut_windows(np.arange(10, dtype=np.float32), shown, 1.0)
    assert [piece.tolist() for piece in rest] == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]
    whole = cut_windows(np.arange(8, dtype=np.float32), shown, 1.0)
    assert [piece.tolist() for piece in whole] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    (short,) = cut_windows(np.ones(1, dtype=np.float32), shown, 1.0)
    assert short.tolist() == [0, 1, 0, 0]


def test_layers_at_another_rate_are_pooled_over_their_own_frames():
    layer = torch.tensor([[[1.0], [2.0], [3.0], [100.0]]])
    frames = Frames(
        torch.ones(1, 2, 1), torch.tensor([1]), 25.0, (layer,),
        layer_rate=50.0, layer_lengths=torch.tensor([3]),
    )  # fmt: skip
    found = pooled(frames, EmbeddingConfig(layers=("all",)))
    assert found["layer0.mean"][0].tolist() == [2.0]


def test_embeddings_survive_the_disk_and_find_their_cuts(tmp_path, corpus):
    config = EmbeddingConfig(window=0.5)
    parts = [embed_cuts(corpus, cuts, Windows().eval(), config) for cuts in ([0, 1, 2], [3, 4])]
    for number, part in enumerate(parts):
        write_embeddings(tmp_path / f"{number}.safetensors", part, "key")
    found = read_embeddings([tmp_path / f"{number}.safetensors" for number in range(2)])
    examples = found.examples("clip", np.array([3, 1]), np.zeros((2, 1), bool))
    assert examples.items.tolist() == [0, 0, 0, 0, 1, 1]
    torch.testing.assert_close(torch.from_numpy(examples.vectors[:4]), parts[1]["clip"][:4])
    torch.testing.assert_close(torch.from_numpy(examples.vectors[4:]), parts[0]["clip"][1:3])


def test_half_precision_is_refused_where_it_overflows(corpus):
    encoder = Windows().eval()
    with torch.no_grad():
        encoder.linear.bias.fill_(1e5)
    with pytest.raises(UserError, match="NaN or infinite values: store float32"):
        embed_cuts(corpus, [0], encoder, EmbeddingConfig(storage="float16"))


def test_layers_that_are_not_there_are_refused(corpus):
    with pytest.raises(UserError, match="'7' is not one of clip, output, all, or a number below 2"):
        embed_cuts(corpus, [0], Windows().eval(), EmbeddingConfig(layers=("7",)))


def test_a_digest_changes_with_any_weight_and_with_the_structure():
    one, other = Windows(), Windows()
    assert encoder_digest(one) == encoder_digest(other)
    with torch.no_grad():
        other.linear.weight[0, 0] += 1e-6
    assert encoder_digest(one) != encoder_digest(other)

    class Louder(Windows):
        """Another structure with the same weights."""

    assert encoder_digest(one) != encoder_digest(Louder())


def test_a_key_changes_with_everything_that_embeddings_depend_on():
    config = EmbeddingConfig()
    keys = {
        content_key("a", "x", config, "float32"),
        content_key("b", "x", config, "float32"),
        content_key("a", "y", config, "float32"),
        content_key("a", "x", replace(config, window=1.0), "float32"),
        content_key("a", "x", replace(config, layers=("all",)), "float32"),
        content_key("a", "x", config, "bfloat16"),
    }
    assert len(keys) == 6
    assert content_key("a", "x", EmbeddingConfig(), "float32") in keys
