import copy

import pytest
import torch
from torch.testing import assert_close

from audiossl import distributed
from audiossl.batches import DataFacts, ViewBatch, WaveformBatch
from audiossl.errors import UserError
from audiossl.features.kaldi_fbank import KaldiFbankConfig
from audiossl.losses.model_contrast import model_contrast
from audiossl.methods.cola import Cola, ColaConfig
from audiossl.methods.masked_patches import MaskedPatches, MaskedPatchesConfig
from audiossl.methods.model_contrast import (
    ForgettingConfig,
    ModelContrast,
    ModelContrastConfig,
    with_term,
    without_kept,
)
from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig

TINY = PatchTransformerConfig(
    front_end=KaldiFbankConfig(num_bins=32), patch_frames=8, dim=16, heads=2, layers=1
)


def cola():
    torch.manual_seed(1)
    config = ColaConfig(similarity="cosine", projection_dim=8, noise=0.0)
    return Cola(PatchTransformer(TINY), config, DataFacts()).double()


def pairs():
    torch.manual_seed(2)
    crops = torch.randn(2, 4, 8000).double()
    return ViewBatch(*crops, torch.ones(4, dtype=torch.bool), torch.arange(4))


def generator():
    return torch.Generator().manual_seed(3)


def moved(method):
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def test_at_the_start_its_gradient_is_zero():
    plain, held = cola(), ModelContrast(cola(), ModelContrastConfig(weight=5.0), DataFacts())
    for method in (plain, held):
        method(pairs(), 0, generator()).total.backward()
    for mine, other in zip(plain.parameters(), held._method[0].parameters(), strict=True):
        assert_close(other.grad, mine.grad, rtol=1e-9, atol=1e-12)


def test_the_term_is_that_of_clip_vectors_and_is_weighted():
    method = ModelContrast(cola(), ModelContrastConfig(weight=0.25), DataFacts())
    released = copy.deepcopy(method.encoder)
    moved(method)
    before = {f"encoder.{n}": v.clone() for n, v in method.encoder.state_dict().items()}
    method.keep_previous(before, "a test")
    previous = copy.deepcopy(method.encoder)
    moved(method)
    losses = method(pairs(), 0, generator())
    anchors, lengths = pairs().anchors, torch.full((4,), 8000)
    own, near, far = (e(anchors, lengths).clip for e in (method.encoder, released, previous))
    term = model_contrast(own, near, far, 0.5).mean()
    assert_close(losses.metrics["model_contrast"], term.detach())
    alone = method._method[0](pairs(), 0, generator()).total
    assert_close(losses.total.detach(), (alone + 0.25 * term).detach())


def test_continued_pretraining_has_no_term_in_its_first_stage_and_keeps_its_encoder_after_it():
    method = ModelContrast(cola(), ForgettingConfig(stage=2), DataFacts())
    released = copy.deepcopy(method.encoder.state_dict())
    for step in range(2):
        assert float(method(pairs(), step, generator()).metrics["model_contrast"]) == 0
        moved(method)
        method.after_update()
    kept = method.frozen
    for name, value in method.encoder.state_dict().items():
        assert torch.equal(kept["previous"].network.state_dict()[name], value)
        assert torch.equal(kept["reference"].network.state_dict()[name], released[name])
    moved(method)
    assert float(method(pairs(), 2, generator()).metrics["model_contrast"]) > 0


def test_weights_keep_their_names_and_the_mode_reaches_the_method():
    plain, held = cola(), ModelContrast(cola(), ModelContrastConfig(), DataFacts())
    assert without_kept(held.state_dict()).keys() == plain.state_dict().keys()
    held.eval()
    assert not held._method[0].training
    assert not held.encoder.training
    assert held.train()._method[0].training
    assert not held.frozen["reference"].network.training


def test_cuts_are_compared_as_far_as_they_go():
    encoder = PatchTransformer(TINY)
    patches = MaskedPatches(encoder, MaskedPatchesConfig(), DataFacts())
    method = with_term(patches, ModelContrastConfig())
    batch = WaveformBatch(torch.randn(2, 16000), torch.tensor([16000, 0]))
    losses = method(batch, 0, generator())
    assert float(losses.metrics["model_contrast"]) == pytest.approx(0.6931, abs=1e-3)


def test_a_method_of_several_encoders_is_refused():
    class Sides(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.ModuleDict()

    with pytest.raises(UserError, match="no single encoder of waveforms"):
        with_term(Sides(), ModelContrastConfig())


def _gradients():
    method = ModelContrast(cola(), ModelContrastConfig(), DataFacts())
    torch.manual_seed(5)
    moved(method)
    method.keep_previous({f"encoder.{n}": v for n, v in method.encoder.state_dict().items()}, "")
    moved(method)
    batch = pairs()
    own = ViewBatch(
        *(
            distributed.own_rows(v)
            for v in (batch.anchors, batch.positives, batch.active, batch.recordings)
        )
    )
    method(own, 0, generator()).total.backward()
    trained = [p for p in method.parameters() if p.requires_grad]
    return [distributed.total(p.grad) / distributed.world_size() for p in trained]


def test_one_process_and_two_agree(two_processes):
    alone = _gradients()
    for other in two_processes.run(_gradients):
        for mine, theirs in zip(alone, other, strict=True):
            assert_close(theirs, mine, rtol=1e-6, atol=1e-10)
