"""A world of concepts that two modalities show in unlike ways: does the codebook come to be shared?

Modality A has 16 frames a clip, four concepts in runs of four, as noisy 40-dimensional vectors; B
has 12, the same concepts in runs of three and in another order, as unrelated 32-dimensional ones.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.batches import PairBatch
from audiossl.methods.code_matching import CodeMatching, CodeMatchingConfig
from audiossl.models.modality_encoders import ModalityEncoder
from audiossl.nn.frames import Frames
from audiossl.quantization.shared_codebook import SharedCodebookConfig
from audiossl.quantization.usage import joint_share

DIMS = {"a": 40, "b": 32}
RUNS = {"a": 4, "b": 3}


class Mlp(ModalityEncoder):
    """Two layers, frame by frame."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.dim = 128
        self.layers = nn.Sequential(nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, 128))

    def forward(self, values: Tensor, lengths: Tensor, context: object = None) -> Frames:
        return Frames(self.layers(values), lengths, 1.0)


@dataclass
class World:
    """Draws clips."""

    generator: torch.Generator
    concepts: int = 64

    def __post_init__(self) -> None:
        self.vectors = {
            modality: torch.randn(self.concepts, dim, generator=self.generator)
            for modality, dim in DIMS.items()
        }

    def draw(self, count: int) -> tuple[PairBatch, dict[str, Int[Tensor, "batch frames"]]]:
        """Draw clips, and the concept of each frame."""
        chosen = torch.rand(count, self.concepts, generator=self.generator).argsort(dim=1)[:, :4]
        shuffled = torch.rand(count, 4, generator=self.generator).argsort(dim=1)
        orders = {"a": chosen, "b": chosen.gather(1, shuffled)}
        labels = {
            modality: orders[modality].repeat_interleave(RUNS[modality], dim=1) for modality in DIMS
        }
        modalities = {
            modality: self._noisy(self.vectors[modality][labels[modality]]) for modality in DIMS
        }
        lengths = {modality: torch.full((count,), labels[modality].shape[1]) for modality in DIMS}
        return PairBatch(modalities, lengths, torch.arange(count)), labels

    def _noisy(self, frames: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return frames + 0.6 * torch.randn(frames.shape, generator=self.generator)


@dataclass(frozen=True)
class Found:
    """Figures of 1000 held-out clips."""

    recall: float
    code_recall: float
    joint: float
    transfer: float
    code_loss: float


def build(path: str, codebook_size: int = 128, **settings: object) -> CodeMatching:
    codebook = SharedCodebookConfig(codebook_size=codebook_size, dim=64)
    config = CodeMatchingConfig(
        embedding_dim=128, head="linear", path=path, codebook=codebook, **settings
    )  # fmt: skip
    return CodeMatching({modality: Mlp(dim) for modality, dim in DIMS.items()}, config)


def train(method: CodeMatching, world: World, steps: int) -> None:
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    method.train()
    for step in range(steps):
        losses = method(world.draw(64)[0], step, torch.Generator())
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        method.after_update()


def measure(method: CodeMatching, world: World) -> Found:
    size, concepts = method.config.codebook.codebook_size, world.concepts
    method.eval()
    with torch.no_grad():
        batch, labels = world.draw(1000)
        loss = method(batch, 0, torch.Generator()).metrics["code_loss"]
        found = {s: method.embed(s, batch.modalities[s], batch.lengths[s]) for s in DIMS}
    counts = {
        modality: torch.bincount(
            (found[modality].assigned.codes * concepts + labels[modality]).flatten(),
            minlength=size * concepts,
        ).view(size, concepts)
        for modality in DIMS
    }  # fmt: skip
    meaning = counts["a"].argmax(dim=1)
    transferred = counts["b"][torch.arange(size), meaning] * (counts["a"].sum(dim=1) > 0)
    uses = torch.stack([counts["a"].sum(dim=1), counts["b"].sum(dim=1)]).double()
    a, b = found["a"].log_distribution, found["b"].log_distribution
    own = torch.arange(1000)
    return Found(
        float(((found["a"].clip @ found["b"].clip.T).argmax(1) == own).double().mean()),
        float(((a.exp() @ b.T + a @ b.exp().T).argmax(1) == own).double().mean()),
        float(joint_share(uses)),
        float(transferred.sum() / counts["b"].sum()),
        float(loss),
    )
