"""Pretraining that goes on: from the weights of others, behind a pause, or for more steps."""

import pytest
import torch

from audiossl.errors import UserError
from audiossl.models.zipformer.model import Zipformer
from audiossl.nn.weights import read_weights
from audiossl.pretrained.load import load_encoder
from audiossl.pretrained.own import write_encoder
from audiossl.training.checkpoints import read_last_checkpoint
from recipes.cola import pretrain
from tests.contracts import COMMON
from tests.data.corpora import prepare, write_folder
from tests.experiment import stage
from tests.methods.codes import SMALL
from tests.teachers.tiny import networks, save

WORDS = [*COMMON, "--batch_size", "4", "--views.crop_samples", "8000"]
WORDS += ["--method.projection_dim", "8"]
ZIPFORMER = (
    "{kind: zipformer, dim: 16, feed_forward_dim: 32, num_layers: [1, 1], strides: [1, 2], "
    "kernel_sizes: [7, 7], num_heads: 2, query_dim: 4, position_dim: 8, value_dim: 4, "
    "unmasked_dim: 8, machinery: false}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("continued")
    write_folder(folder / "audio", [0.8] * 8)
    prepare(folder / "audio", folder / "cuts")
    torch.manual_seed(0)
    write_encoder(folder / "zipformer", Zipformer(SMALL), {})
    for name in ("wavlm-base", "wav2vec2-base"):
        save(networks()[name], folder / name)
    return folder


def _cola(folder, name, encoder, *words):
    output = folder / name
    stage(
        pretrain, pretrain.cola, *WORDS, "--cuts", str(folder / "cuts"), "--encoder", encoder,
        *words, "--output", str(output),
    )  # fmt: skip
    return output


def _frames(source):
    waveforms = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    return load_encoder(source)(waveforms, torch.tensor([8000, 7000])).vectors


@pytest.mark.parametrize("name", ["wavlm-base", "wav2vec2-base"])
def test_a_network_of_transformers_is_trained_further(folder, name):
    source = f"hf:{folder / name}"
    encoder = f"{{kind: wav2vec2, source: '{source}'}}"
    words = ["--initial_weights", source, "--loop.rate_starts", "{encoder: 2}"]
    output = _cola(folder, f"further_{name}", encoder, *words)
    before, after = _frames(source), _frames(output)
    assert before.shape == after.shape
    # Adam's first step is as large as its rate, here in the third step alone.
    assert float((after - before).abs().max()) > 0
    two = read_last_checkpoint(output)["method"]
    held = torch.load(output / "checkpoints/step-00000002.pt", weights_only=True)["method"]
    weights = load_encoder(source).state_dict()
    for key, value in weights.items():
        torch.testing.assert_close(held[f"encoder.network.{key}"], value, rtol=0, atol=0)
    assert any(not torch.equal(two[f"encoder.network.{key}"], weights[key]) for key in weights)
    assert not torch.equal(held["projection.dense.weight"], two["projection.dense.weight"])


def test_clips_are_presented_like_crops_or_as_to_the_initial_encoder(folder):
    source = str(folder / "zipformer")
    crops = load_encoder(str(_cola(folder, "crops", ZIPFORMER, "--initial_weights", source)))
    words = ["--initial_weights", source, "--presentation", "initial"]
    kept = load_encoder(str(_cola(folder, "kept", ZIPFORMER, *words)))
    assert crops.presentation.window_samples == 8000
    assert kept.presentation == load_encoder(source).presentation
    assert kept.presentation.window_samples is None
    torch.testing.assert_close(kept.state_dict(), crops.state_dict(), rtol=0, atol=0)
    with pytest.raises(UserError, match="that of initial_weights: name some"):
        _cola(folder, "refused_6", ZIPFORMER, "--presentation", "initial")


def test_other_architectures_are_refused_by_name(folder):
    source = f"hf:{folder / 'wavlm-base'}"
    with pytest.raises(UserError, match=r"initial_weights: .*missing"):
        _cola(folder, "refused", ZIPFORMER, "--initial_weights", source)
    with pytest.raises(UserError, match=r"give encoder.source"):
        _cola(folder, "refused_2", "{kind: wav2vec2}")
    with pytest.raises(UserError, match=r"log_mel:40: is no wav2vec 2\.0"):
        _cola(folder, "refused_3", "{kind: wav2vec2, source: 'log_mel:40'}")
    with pytest.raises(UserError, match=r"encoder.architecture: damaged"):
        _cola(folder, "refused_4", "{kind: wav2vec2, architecture: '{}'}")
    with pytest.raises(UserError, match="rate_starts: no parameter begins with 'encodr'"):
        _cola(folder, "refused_5", ZIPFORMER, "--loop.rate_starts", "{encodr: 2}")


def test_a_run_of_more_steps_goes_on_and_ends_like_one_of_as_many(folder):
    short = _cola(folder, "run", ZIPFORMER)
    with pytest.raises(UserError, match=r"loop.steps 3 -> 2"):
        _cola(folder, "run", ZIPFORMER, "--loop.steps", "2")
    first = (short / "encoder.safetensors").read_bytes()
    extended = _cola(folder, "run", ZIPFORMER, "--loop.steps", "5")
    whole = _cola(folder, "whole", ZIPFORMER, "--loop.steps", "5")
    assert (extended / "encoder.safetensors").read_bytes() != first
    torch.testing.assert_close(
        read_weights(extended / "encoder.safetensors"), read_weights(whole / "encoder.safetensors"),
        rtol=0, atol=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--loop.optimizer.schedule.kind", "cosine"], r"its schedule \(cosine\) ends"),
        (["--loop.averaging", "{period: 1, last: 1}"], "over its last steps"),
    ],
)
def test_what_depends_on_the_number_of_steps_is_not_extended(folder, words, reason):
    name = f"fixed_{words[1][:6]}"
    _cola(folder, name, ZIPFORMER, *words)
    with pytest.raises(UserError, match=rf"loop.steps 3 -> 5; it cannot be extended.*{reason}"):
        _cola(folder, name, ZIPFORMER, *words, "--loop.steps", "5")
