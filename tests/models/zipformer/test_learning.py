"""A toy Zipformer learns one batch of masked prediction by heart, with ScaledAdam."""

from dataclasses import replace

import jaxtyping
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from audiossl.models.encoder import Context
from audiossl.models.zipformer.config import TINY
from audiossl.models.zipformer.model import Zipformer
from audiossl.optim.scaled_adam import ScaledAdam

TOY = replace(
    TINY, dim=48, feed_forward_dim=64, unmasked_dim=24, num_layers=(1, 1, 1, 1),
    strides=(1, 2, 4, 1), kernel_sizes=(15, 15, 7, 7),
)  # fmt: skip
FRAMES, CODES, STEPS = 41, 16, 60


def learn(machinery):
    """Train on one batch; returns the losses, and the share of hidden frames named right."""
    torch.manual_seed(0)
    network = Zipformer(replace(TOY, machinery=machinery)).train()
    head, hidden = nn.Linear(48, CODES), nn.Parameter(torch.randn(128))
    lengths = torch.tensor([FRAMES, FRAMES - 8])
    codes = torch.randint(CODES, (2, (FRAMES - 7) // 2))
    # What is heard tells the codes; where it is hidden, its neighbors and its place have to.
    heard = torch.randn(2, FRAMES, 128)
    mask = (torch.arange(FRAMES) // 8 % 2 == 1)[None, :, None]
    inside = mask[:, 4:-4:2, 0][:, : codes.shape[1]].expand(2, -1)
    inside = inside & (torch.arange(codes.shape[1]) < ((lengths - 7) // 2)[:, None])
    parameters = [hidden, *head.parameters()]
    parameters += [p for p in network.parameters() if p.requires_grad]
    optimizer = ScaledAdam(parameters, lr=0.03)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        frames = network.encode_features(
            torch.where(mask, hidden, heard), lengths, Context(step, 6e7)
        )
        logits = head(frames.vectors)
        loss = F.cross_entropy(logits[inside], codes[inside])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    network.eval()
    with torch.no_grad():
        frames = network.encode_features(torch.where(mask, hidden, heard), lengths)
        right = (head(frames.vectors).argmax(dim=-1) == codes)[inside]
    return losses, float(right.float().mean())


@pytest.mark.parametrize("machinery", [True, False], ids=["with_machinery", "plain"])
def test_one_batch_is_learnt_by_heart(monkeypatch, machinery):
    # Shapes are checked by other tests; here it would take most of the time.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    losses, right = learn(machinery)
    print(f"loss {losses[0]:.2f} to {losses[-1]:.3f}, {right:.0%} of hidden frames right")
    assert losses[0] > 2.0
    assert min(losses[-10:]) < 0.2
    assert right > 0.9
