import functools
import math
from dataclasses import replace

import pytest
import torch

from audiossl import distributed
from audiossl.batches import PairBatch
from audiossl.errors import UserError
from audiossl.methods.code_matching import CodeMatching, CodeMatchingConfig
from audiossl.methods.code_scores import CodeScoresConfig
from audiossl.models.modality_encoders import (
    ConvolutionsConfig,
    FramesConfig,
    TextConfig,
    build_modality_encoder,
)
from audiossl.quantization.shared_codebook import SharedCodebookConfig
from tests.methods.toy_world import World, build, measure, train

PLAIN = ConvolutionsConfig(dim=16, strides=(2,), blocks=1, kernel=3, dropout=0.0)
CODEBOOK = SharedCodebookConfig(codebook_size=12, dim=8, idle_steps=2, decay=0.9)
CONFIG = CodeMatchingConfig(embedding_dim=10, codebook=CODEBOOK)


def _method(config: CodeMatchingConfig = CONFIG) -> CodeMatching:
    torch.manual_seed(1)
    modalities = {
        "audio": build_modality_encoder(FramesConfig(convolutions=PLAIN), 5, 10.0),
        "text": build_modality_encoder(
            TextConfig(convolutions=replace(PLAIN, strides=(1,))), 20, 5.0
        ),
    }
    return CodeMatching(modalities, config)


def _batch(rows: int = 6) -> PairBatch:
    generator = torch.Generator().manual_seed(2)
    audio = torch.randint(8, 17, (rows,), generator=generator)
    text = torch.randint(1, 9, (rows,), generator=generator)
    return PairBatch(
        {
            "audio": torch.randn(rows, 16, 5, generator=generator),
            "text": torch.randint(20, (rows, 8), generator=generator),
        },
        {"audio": audio, "text": text},
        torch.arange(rows) % (rows - 1),
    )


def _own(batch: PairBatch) -> PairBatch:
    return PairBatch(
        {modality: distributed.own_rows(values) for modality, values in batch.modalities.items()},
        {modality: distributed.own_rows(lengths) for modality, lengths in batch.lengths.items()},
        distributed.own_rows(batch.concepts),
    )


def test_code_matching_starts_at_the_logarithm_of_the_number_of_clips():
    config = replace(CONFIG, codebook=SharedCodebookConfig(codebook_size=256, dim=64))
    batch = replace(_batch(32), concepts=torch.arange(32))
    losses = _method(config)(batch, 0, torch.Generator())
    assert float(losses.metrics["code_loss"]) == pytest.approx(math.log(32), abs=0.05)


@pytest.mark.parametrize("part", ["embedding_loss", "code_loss"])
def test_each_loss_reaches_what_the_table_of_gradients_says(part):
    method = _method()
    found = {
        s: method.embed(s, _batch().modalities[s], _batch().lengths[s]) for s in method.modalities
    }
    result = method._pair(found["audio"], found["text"], torch.eye(6).bool())
    result[part].backward()
    reached = {
        name for name, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum()
    }
    rooms = {name.partition(".")[0] for name in reached}
    heads = {"heads", "code_heads"} if part == "embedding_loss" else set()
    assert rooms == {"encoder", "codebook"} | heads
    assert not any(name.startswith("codebook.entries") for name, _ in method.named_parameters())


def test_padding_changes_no_loss():
    method, batch = _method(), _batch()
    louder = {}
    for modality, values in batch.modalities.items():
        behind = torch.arange(values.shape[1]) >= batch.lengths[modality][:, None]
        louder[modality] = values.masked_fill(
            behind.view(*behind.shape, *[1] * (values.ndim - 2)), 19
        )
    first = method(batch, 0, torch.Generator())
    second = method(replace(batch, modalities=louder), 0, torch.Generator())
    torch.testing.assert_close(first.total, second.total)


VARIANTS = {
    "paper": CONFIG,
    "continuous": replace(CONFIG, path="continuous"),
    "projected": replace(CONFIG, path="projected"),
    "symmetric windows": replace(
        CONFIG,
        commitment_weight=0.25,
        matching=CodeScoresConfig(symmetric=True, window=0.4, run_length=True, gap=2),
    ),
    "covering, one direction": replace(
        CONFIG, directions="first", matching=CodeScoresConfig(score="covering", stop_gradient=True)
    ),
}


def _trained(name: str) -> tuple[torch.Tensor, list[torch.Tensor], dict[str, torch.Tensor]]:
    """Take one step in double precision, and give the loss, the gradients and all buffers."""
    method = _method(VARIANTS[name]).double()
    model = distributed.parallel(method, torch.device("cpu"))
    batch = _own(_batch())
    modalities = {"audio": batch.modalities["audio"].double(), "text": batch.modalities["text"]}
    losses = model(replace(batch, modalities=modalities), 0, torch.Generator())
    losses.total.backward()
    method.after_update()
    gradients = [p.grad for p in method.parameters()]
    return distributed.mean(losses.total), gradients, dict(method.named_buffers())


@pytest.mark.parametrize("name", VARIANTS)
def test_one_process_and_two_have_the_same_loss_gradients_and_codebook(two_processes, name):
    loss, gradients, buffers = _trained(name)
    for other, others, state in two_processes.run(_trained, name):
        # Frames reach the codebook in single precision, which bounds the agreement.
        torch.testing.assert_close(other, loss, rtol=1e-5, atol=1e-6)
        for mine, theirs in zip(gradients, others, strict=True):
            torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-6)
        for key, value in buffers.items():
            torch.testing.assert_close(state[key], value, rtol=1e-4, atol=1e-6, msg=key)


def test_a_warm_start_takes_encoders_and_heads_and_nothing_else():
    baseline, method = _method(replace(CONFIG, path="continuous")), _method()
    for parameter in baseline.parameters():
        torch.nn.init.normal_(parameter)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.warm_start(baseline.state_dict(), "baseline")
    for name, value in method.state_dict().items():
        expected = baseline.state_dict().get(name, before[name])
        assert torch.equal(value, expected), name
    with pytest.raises(UserError, match=r"baseline \(encoder\).*mis-shaped"):
        other = {"audio": build_modality_encoder(FramesConfig(convolutions=PLAIN), 4, 10.0)}
        other["text"] = method.encoder["text"]
        CodeMatching(other, CONFIG).warm_start(baseline.state_dict(), "baseline")


def test_code_heads_that_start_at_zero_leave_a_warm_start_as_it_was_and_learn():
    baseline = _method(replace(CONFIG, path="continuous"))
    method, batch = _method(replace(CONFIG, code_heads="zero")), _batch()
    method.warm_start(baseline.state_dict(), "baseline")
    for modality in method.modalities:
        inputs = modality, batch.modalities[modality], batch.lengths[modality]
        found, expected = method.eval().embed(*inputs), baseline.eval().embed(*inputs)
        torch.testing.assert_close(found.clip, expected.clip)
    method.train()(batch, 0, torch.Generator()).total.backward()
    assert all(head.weight.grad.abs().sum() > 0 for head in method.code_heads.values())


def test_a_batch_of_one_pair_is_refused():
    with pytest.raises(UserError, match="batch of one pair"):
        _method()(_first(_batch(), 1), 0, torch.Generator())


def _first(batch: PairBatch, rows: int) -> PairBatch:
    return PairBatch(
        {modality: values[:rows] for modality, values in batch.modalities.items()},
        {modality: lengths[:rows] for modality, lengths in batch.lengths.items()},
        batch.concepts[:rows],
    )


def test_one_modality_alone_is_refused():
    with pytest.raises(UserError, match="two modalities or more"):
        CodeMatching({"audio": build_modality_encoder(FramesConfig(), 5, 10.0)}, CONFIG)


def test_three_modalities_share_one_codebook():
    torch.manual_seed(0)
    modalities = {
        name: build_modality_encoder(FramesConfig(convolutions=PLAIN), 5, 10.0) for name in "abc"
    }
    method = CodeMatching(modalities, CONFIG)
    values = {name: torch.randn(4, 8, 5) for name in "abc"}
    lengths = {name: torch.full((4,), 8) for name in "abc"}
    losses = method(PairBatch(values, lengths, torch.arange(4)), 0, torch.Generator())
    losses.total.backward()
    method.after_update()
    assert method.codebook.entries.modality_counts.shape == (3, 12)
    expected = losses.metrics["embedding_loss"] + 0.1 * losses.metrics["code_loss"]
    torch.testing.assert_close(losses.total.detach(), expected)


@functools.cache
def _baseline(concepts: int, steps: int):
    """Train what both arms start from: its weights, and where chance has come to."""
    torch.manual_seed(0)
    world = World(torch.Generator().manual_seed(0), concepts)
    baseline = build("continuous", 2 * concepts)
    train(baseline, world, steps)
    return baseline.state_dict(), world.generator.get_state(), torch.get_rng_state()


def _arm(alpha: float, concepts: int, steps: tuple[int, int]):
    weights, chance_of_world, chance = _baseline(concepts, steps[0])
    world = World(torch.Generator().manual_seed(0), concepts)
    world.generator.set_state(chance_of_world)
    torch.set_rng_state(chance)
    method = build("codes", 2 * concepts, alpha=alpha)
    method.warm_start(weights, "baseline")
    train(method, world, steps[1])
    return measure(method, world)


def test_in_a_small_world_code_matching_makes_the_codebook_shared():
    found, control = _arm(0.1, 16, (150, 300)), _arm(0.0, 16, (150, 300))
    assert found.joint > 0.6
    assert found.transfer > 0.85
    assert control.joint < 0.1
    assert control.transfer < 0.05
    assert found.recall > control.recall - 0.1


@pytest.mark.long
def test_in_the_toy_world_of_the_papers_size_sharing_is_what_alpha_makes():
    found, control = _arm(0.1, 64, (500, 700)), _arm(0.0, 64, (500, 700))
    print(f"alpha 0.1: {found}\nalpha 0:   {control}")
    assert found.joint >= 0.6
    assert found.transfer >= 0.9
    assert found.code_recall > 0.99
    assert found.recall > 0.8
    assert control.joint < 0.05
    assert control.transfer < 0.05
