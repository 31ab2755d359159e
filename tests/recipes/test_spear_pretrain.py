import logging
from dataclasses import replace

import pytest
import torch

from audiossl.data.coded_cuts import CodedCorpusConfig, CodedCuts, CodedCutsConfig
from audiossl.data.plan import PlanConfig
from audiossl.errors import UserError
from audiossl.methods.masked_codes import MaskedCodesConfig
from audiossl.optim.build import AdamWConfig
from audiossl.pretrained.load import load_encoder
from audiossl.training.averaging import AveragingConfig
from audiossl.training.checkpoints import read_last_checkpoint
from audiossl.training.loop import Place, train
from audiossl.training.writers import read_metrics
from recipes.spear.pretrain import build, coded_cuts, spear, with_seconds
from recipes.stage import run
from tests.data.corpora import encode, prepare, write_folder
from tests.methods.codes import SMALL
from tests.recipes.spear_corpora import spear_config, write_corpora

MODULE = "recipes.spear.pretrain"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spear")
    write_corpora(folder)
    return folder


def _place(folder, config) -> Place:
    return Place(folder, torch.device("cpu"), config.resources, logging.getLogger("spear"))


def _weights(method) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in method.parameters()])


def _train(config, output, source=None):
    source = source or coded_cuts(config)
    method = build(config, source)
    train(method, source, with_seconds(config.loop, 10.0), _place(output, config))
    return _weights(method)


def test_the_stage_trains_records_and_exports_the_mean_weights(folder, tmp_path):
    record = run(spear_config(folder, tmp_path / "out"), spear, MODULE)
    assert record["finished"]
    assert record["inputs"]["corpora.1.codes.0"]["path"].endswith("sounds_speech_codes")
    encoder = load_encoder(tmp_path / "out")
    frames = encoder(torch.randn(1, 16000), torch.tensor([16000]))
    assert frames.vectors.shape == (1, 46, SMALL.dim)
    last = read_metrics(tmp_path / "out")[-1]
    for place in ("speech_codes/speech_cuts", "speech_codes/audio_cuts", "audio_codes/audio_cuts"):
        for figure in ("accuracy", "perplexity"):
            assert f"{place}/masked/{figure}" in last
            assert f"{place}/masked/{figure}/01" in last
    saved = read_last_checkpoint(tmp_path / "out")["method"]
    name = "encoder_embed.out.weight"
    assert not torch.equal(saved[f"encoder.{name}"], encoder.state_dict()[name])


def test_another_config_is_refused_by_field(folder, tmp_path):
    config = spear_config(folder, tmp_path)
    run(config, spear, MODULE)
    with pytest.raises(UserError, match=r"method.alpha 0.5 -> 0.7"):
        run(replace(config, method=replace(config.method, alpha=0.7)), spear, MODULE)
    with pytest.raises(UserError, match=r"input corpora.1"):
        run(replace(config, corpora=config.corpora[:1]), spear, MODULE)


class _Crashes(CodedCuts):
    """Reads three batches, then the power is cut."""

    left = 3

    def load(self, position, rank=0, world_size=1):
        if self.left == 0:
            raise RuntimeError("power cut")
        self.left -= 1
        return super().load(position, rank, world_size)


@pytest.mark.parametrize("machinery", [False, True])
def test_an_interrupted_run_equals_an_uninterrupted_one(folder, tmp_path, machinery):
    config = spear_config(folder, tmp_path, encoder=replace(SMALL, machinery=machinery))
    whole = _train(config, tmp_path / "whole")
    crashing = _Crashes(config.corpora, config.data, replace(config.plan, seed=0))
    with pytest.raises(RuntimeError, match="power cut"):
        _train(config, tmp_path / "broken", crashing)
    resumed = _train(config, tmp_path / "broken")
    assert torch.equal(resumed, whole)
    assert read_metrics(tmp_path / "broken") == read_metrics(tmp_path / "whole")


def test_accumulated_parts_give_the_update_of_the_large_batch(folder, tmp_path):
    config = spear_config(folder, tmp_path)
    whole = _train(config, tmp_path / "whole")
    parts = replace(config, loop=replace(config.loop, accumulate=2))
    torch.testing.assert_close(_train(parts, tmp_path / "parts"), whole, rtol=1e-3, atol=2e-5)


def _train_steps(folder, output, steps):
    config = spear_config(folder, output)
    loop = replace(config.loop, averaging=None)
    return _train(replace(config, loop=replace(loop, steps=steps)), output)


def test_two_processes_train_as_one_and_one_goes_on_where_two_stopped(
    folder, tmp_path, two_processes
):
    config = spear_config(folder, tmp_path)
    alone = _train_steps(folder, tmp_path / "one", 6)
    both = two_processes.run(_train_steps, folder, tmp_path / "two", 6)
    for weights in both:
        torch.testing.assert_close(weights, alone, rtol=1e-3, atol=2e-5)
    two_processes.run(_train_steps, folder, tmp_path / "changed", 4)
    resumed = _train_steps(folder, tmp_path / "changed", 6)
    torch.testing.assert_close(resumed, alone, rtol=1e-3, atol=2e-5)
    assert config.plan.batch_size == 4


def _sharded(folder, output, sharding, settings):
    """Run the whole stage; returns what it leaves behind."""
    encoder = replace(SMALL, **settings.get("encoder", {}))
    plan = PlanConfig(batch_size=8, num_buckets=1)
    config = spear_config(folder, output, encoder=encoder, plan=plan)
    shorter = {"steps": 4, "averaging": AveragingConfig(period=1, last=2)}
    config = replace(
        config, loop=replace(config.loop, **shorter, **settings.get("loop", {})),
        resources=replace(config.resources, sharding=sharding),
    )  # fmt: skip
    run(config, spear, MODULE)
    return load_encoder(output).state_dict(), read_metrics(output)[-1]["loss"]


@pytest.mark.parametrize(
    "settings",
    [
        {"loop": {"accumulate": 2}, "encoder": {"checkpoint_stacks": True}},
        {
            "loop": {"optimizer": AdamWConfig(rate=1e-3, clip_norm=1.0)},
            "encoder": {"output_stride": 2},
        },
    ],
)
def test_ranks_that_share_parameters_export_what_one_process_does(
    folder, tmp_path, two_processes, settings
):
    weights, loss = _sharded(folder, tmp_path / "one", "none", settings)
    (other, other_loss), _ = two_processes.run(_sharded, folder, tmp_path / "two", "full", settings)
    assert other_loss == pytest.approx(loss, rel=1e-4)
    for name, value in weights.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=2e-5, msg=name)


def test_ranks_that_share_parameters_train_in_bfloat16_with_regularizers(
    folder, tmp_path, two_processes
):
    settings = {"loop": {"precision": "bfloat16"}, "encoder": {"machinery": True}}
    (weights, loss), (others, _) = two_processes.run(_sharded, folder, tmp_path, "full", settings)
    assert 0 < loss < 10
    for name, value in weights.items():
        assert torch.isfinite(value).all()
        assert torch.equal(others[name], value)


def test_bfloat16_trains(folder, tmp_path):
    config = spear_config(folder, tmp_path)
    loop = replace(config.loop, precision="bfloat16", steps=2, averaging=None)
    assert torch.isfinite(_train(replace(config, loop=loop), tmp_path)).all()


def test_a_corpus_of_one_cut_is_enough(tmp_path):
    write_folder(tmp_path / "audio", [1.0])
    prepare(tmp_path / "audio", tmp_path / "cuts")
    encode(tmp_path / "cuts", tmp_path / "codes")
    config = spear_config(tmp_path, tmp_path / "out")
    config = replace(
        config, method=MaskedCodesConfig(), data=CodedCutsConfig(targets={"speech": ["speech"]}),
        corpora=(CodedCorpusConfig(cuts=tmp_path / "cuts", codes=(tmp_path / "codes",)),),
        plan=PlanConfig(batch_size=2, num_buckets=3),
    )  # fmt: skip
    run(config, spear, MODULE)
    assert load_encoder(tmp_path / "out").dim == SMALL.dim


def test_what_the_data_lacks_is_said_before_anything_is_trained(folder, tmp_path):
    config = spear_config(folder, tmp_path)
    with pytest.raises(UserError, match=r"data.noise names none"):
        coded_cuts(replace(config, data=replace(config.data, noise=())))
    with pytest.raises(UserError, match="have no codes 'speech'"):
        coded_cuts(replace(config, corpora=(replace(config.corpora[1], codes=()),)))
