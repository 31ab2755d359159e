"""Losses against a loop over heads, and against what people import."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from audiossl.batches import ViewBatch
from audiossl.losses.codebook_cross_entropy import IGNORED, codebook_cross_entropy
from audiossl.methods.cola import Cola, ColaConfig
from audiossl.methods.method import Context
from audiossl.models.efficientnet import EfficientNet, EfficientNetConfig
from tests.benchmarks.rounds import compare

FRAMES, DIM, CODEBOOKS, ENTRIES = 1000, 512, 16, 256
HEADS_FLOOR = (
    "three products of 4.2 MFLOP a frame are 0.85 of the time, and the peer needs them, too; "
    "frames without weight still cost one of the three, as accuracy and perplexity are reported"
)


@pytest.mark.parametrize("kept", ["all", "masked"])
def test_heads_of_16_codebooks_with_half_of_the_frames_masked(kept):
    frames = torch.randn(FRAMES, DIM, requires_grad=True)
    weight = (torch.randn(CODEBOOKS, ENTRIES, DIM) * DIM**-0.5).requires_grad_()
    bias = torch.zeros(CODEBOOKS, ENTRIES, requires_grad=True)
    codes = torch.randint(ENTRIES, (FRAMES, CODEBOOKS))
    masked = torch.rand(FRAMES) < 0.5
    # Whoever computes nothing of visible frames wants no figures of them either.
    asked = codes if kept == "all" else codes.masked_fill(~masked[:, None], IGNORED)

    def ours():
        loss = codebook_cross_entropy(frames, weight, bias, asked, masked.float()).loss
        return torch.autograd.grad(loss, (frames, weight, bias))

    def theirs():
        rows = slice(None) if kept == "all" else masked
        weights, wanted, some = masked[rows].float(), codes[rows], frames[rows]
        losses = [
            F.cross_entropy(F.linear(some, w, b), wanted[:, book], reduction="none") @ weights
            for book, (w, b) in enumerate(zip(weight, bias, strict=True))
        ]
        return torch.autograd.grad(sum(losses) / CODEBOOKS, (frames, weight, bias))

    for one, other in zip(ours(), theirs(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    ratio = compare(
        f"16 heads and loss, {FRAMES} frames, half masked, against a loop on {kept} frames",
        ours, theirs, rounds=7, goal=3.0 if kept == "all" else 1.2, floor=HEADS_FLOOR,
    )  # fmt: skip
    assert ratio > 0.9


@pytest.mark.parametrize("layout", ["NCHW", "channels last"])
def test_a_step_of_cola(layout):
    """B0 with the projection, 32 pairs of one second, against timm's network in a plain loop."""
    ours = Cola(EfficientNet(EfficientNetConfig(stochastic_depth=0.0)), ColaConfig(noise=0.0))
    peer = timm.create_model("tf_efficientnet_b0", in_chans=1, num_classes=0, global_pool="max")
    projection = nn.Sequential(nn.Linear(1280, 512), nn.LayerNorm(512), nn.Tanh())
    bilinear = nn.Linear(512, 512, bias=False)
    if layout == "channels last":
        peer = peer.to(memory_format=torch.channels_last)
    rows = torch.arange(32)
    batch = ViewBatch(0.1 * torch.randn(32, 16000), 0.1 * torch.randn(32, 16000), rows >= 0, rows)
    images, lengths = ours.features(batch, Context(0, 0.0, torch.Generator()))

    def own():
        vectors = ours.projection(ours.encoder.encode_features(images, lengths).clip)
        scores = ours.similarity(vectors[::2], vectors[1::2])
        F.cross_entropy(scores, rows).backward()

    def its():
        vectors = projection(peer(images[:, None]))
        F.cross_entropy(bilinear(vectors[::2]) @ vectors[1::2].T, rows).backward()

    count = sum(p.numel() for p in peer.parameters())
    assert sum(p.numel() for p in ours.encoder.parameters()) == count
    ratio = compare(
        f"COLA step, B0, 32 pairs, against timm {layout}", own, its, rounds=3,
        goal=1.5 if layout == "NCHW" else 1.2,
        floor="both run the same convolutions of oneDNN in the same layout, and batch norm",
    )  # fmt: skip
    assert ratio > 0.9
