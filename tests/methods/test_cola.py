import pytest
import torch
from torch import nn

from audiossl import distributed
from audiossl.batches import ViewBatch
from audiossl.configs import from_plain
from audiossl.features.log_mel import FLOOR
from audiossl.methods.cola import Cola, ColaConfig
from audiossl.methods.source_association import SourceAssociation, SourceAssociationConfig
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from audiossl.models.encoder import Context

TINY = EfficientNetConfig(width=0.25, depth=0.3, stochastic_depth=0.2)


def _batch(pairs: int) -> ViewBatch:
    """Pairs that are slices of one tone each, so that they can be told apart."""
    frequency = torch.logspace(2, 3.8, pairs)[:, None]
    time = torch.arange(24000) / 16000
    tones = torch.sin(2 * torch.pi * frequency * time) / 100
    active = torch.arange(pairs) % 3 != 1
    return ViewBatch(tones[:, :16000], tones[:, 8000:], active, torch.arange(pairs))


def _own(batch: ViewBatch) -> ViewBatch:
    return ViewBatch(
        *(
            distributed.own_rows(values)
            for values in (batch.anchors, batch.positives, batch.active, batch.recordings)
        )
    )


def test_the_whole_model_has_the_parameters_of_the_released_code():
    method = Cola(EfficientNet(EfficientNetConfig()), ColaConfig())
    assert sum(p.numel() for p in method.parameters()) == 4_926_012
    assert sum(p.numel() for p in method.projection.parameters()) == 655_872 + 1_024


def _loss_and_gradients(kind: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
    torch.manual_seed(1)
    encoder = EfficientNet(TINY)
    method: nn.Module = (
        Cola(encoder, ColaConfig(exclude_same_recording=True))
        if kind == "cola"
        else SourceAssociation(encoder, SourceAssociationConfig(noise=0.01))
    ).double()
    torch.manual_seed(2)
    model = distributed.parallel(method, torch.device("cpu"))
    batch = _own(_batch(8))
    batch = ViewBatch(
        batch.anchors.double(), batch.positives.double(), batch.active, batch.recordings // 2
    )
    losses = model(batch, 0, torch.Generator().manual_seed(3))
    losses.total.backward()
    gradients = [p.grad for p in method.parameters()]
    return distributed.mean(losses.total), gradients


@pytest.mark.parametrize("kind", ["cola", "source association"])
def test_one_process_and_two_have_the_same_loss_and_gradients(two_processes, kind):
    loss, gradients = _loss_and_gradients(kind)
    for other, others in two_processes.run(_loss_and_gradients, kind):
        # torch draws the noise in single precision, which bounds the agreement of the rest.
        torch.testing.assert_close(other, loss, rtol=1e-6, atol=1e-8)
        for mine, theirs in zip(gradients, others, strict=True):
            torch.testing.assert_close(theirs, mine, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("similarity", ["bilinear", "cosine"])
def test_one_batch_can_be_learnt_by_heart(similarity):
    torch.manual_seed(0)
    config = EfficientNetConfig(width=0.25, depth=0.3, input_scale=1.0, stochastic_depth=0.0)
    method = Cola(EfficientNet(config), ColaConfig(projection_dim=64, similarity=similarity))
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    batch, generator = _batch(12), torch.Generator().manual_seed(0)
    for step in range(40):
        losses = method(batch, step, generator)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert float(losses.metrics["accuracy"]) > 0.9
    assert float(losses.total.detach()) < 1.0


@pytest.mark.parametrize(
    ("null_input", "value"), [("floor", torch.tensor(FLOOR).log()), ("zeros", torch.tensor(0.0))]
)
def test_absent_sources_become_the_null_input_and_nothing_else_does(null_input, value):
    config = SourceAssociationConfig(null_input=null_input)
    method, batch = SourceAssociation(EfficientNet(TINY), config), _batch(6)
    features, lengths = method.features(batch, Context())
    everything, _ = Cola.features(Cola(method.encoder, ColaConfig(noise=0.0)), batch, Context())
    absent = torch.zeros(12).bool()
    absent[1::2] = ~batch.active
    assert torch.equal(features[absent], value.expand_as(features[absent]))
    assert torch.equal(features[~absent], everything[~absent])
    assert lengths.tolist() == [features.shape[1]] * 12


@pytest.mark.parametrize("loss", ["dcl", "python:tests.methods.own_losses:decoupled"])
def test_the_loss_is_an_option(loss):
    config = from_plain(ColaConfig, {"loss": loss}, "test")
    method = Cola(EfficientNet(TINY), config).eval()
    batch, generator = _batch(4), torch.Generator().manual_seed(0)
    losses = method(batch, 0, generator)
    scores = method.score_pairs(batch, Context(generator=generator.manual_seed(0)))
    without_positive = scores.values.masked_fill(torch.eye(4).bool(), -torch.inf)
    expected = (without_positive.logsumexp(dim=1) - scores.values.diagonal()).mean()
    torch.testing.assert_close(losses.total, expected)
