"""Any method of waveforms, and a term that holds its encoder to another one.

The clip vectors of the encoder are compared with those of two frozen encoders for the same input:
near to those of the reference, far from those of the encoder as it was. In federation these are the
global encoder and the client's last one. In continued pretraining they are the released encoder and
the one of the last stage, a number of steps long; in the first stage both are the same, the term
would be constant, and is left out.

Source: Li, He, Song, "Model-Contrastive Federated Learning" (MOON, CVPR 2021). Ours: clip vectors
themselves are compared. A head between, as theirs, is random when an encoder that was released
without one comes in, and could carry the term alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audiossl.batches import DataFacts
from audiossl.configs import Count, Nonnegative, Positive
from audiossl.errors import UserError
from audiossl.losses.model_contrast import model_contrast
from audiossl.methods.method import AfterUpdate, Losses, context_of
from audiossl.models.encoder import FeatureEncoder
from audiossl.nn.slow_copy import SlowCopy
from audiossl.nn.weights import load_exactly

FROZEN = "frozen."
"""Prefix of the names of frozen encoders among those of a method's weights."""


@dataclass(frozen=True, kw_only=True)
class ModelContrastConfig:
    """How strongly an encoder is held."""

    weight: Nonnegative = 1.0
    """Weight of the term."""
    temperature: Positive = 0.5
    """Temperature that divides cosines."""


@dataclass(frozen=True, kw_only=True)
class ForgettingConfig(ModelContrastConfig):
    """How strongly continued pretraining is held to the encoder that it begins with."""

    stage: Count = 100
    """Number of steps of a stage, at whose end the encoder is kept for the next one."""


class ModelContrast(nn.Module):
    """A method with the term added to its loss; its weights keep their names.

    Example:
        >>> from audiossl.batches import WaveformBatch
        >>> from audiossl.methods.masked_patches import MaskedPatches, MaskedPatchesConfig
        >>> from audiossl.models.patch_transformer import PatchTransformer, PatchTransformerConfig
        >>> encoder = PatchTransformer(PatchTransformerConfig(dim=16, heads=2, layers=1))
        >>> patches = MaskedPatches(encoder, MaskedPatchesConfig(), DataFacts())
        >>> method = ModelContrast(patches, ModelContrastConfig(), DataFacts())
        >>> waves = WaveformBatch(torch.randn(2, 16000), torch.tensor([16000, 12000]))
        >>> losses = method(waves, 0, torch.Generator().manual_seed(0))
        >>> round(float(losses.metrics["model_contrast"]), 4)  # ln 2: all three are the same
        0.6931
    """

    def __init__(self, method: nn.Module, config: ModelContrastConfig, data: DataFacts) -> None:
        """Keep copies of the method's encoder as both frozen ones."""
        super().__init__()
        # A list hides the method from torch, which has its parts under their own names.
        self._method: list[Any] = [method]
        for name, part in method.named_children():
            self.add_module(name, part)
        for name, parameter in method.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.config, self.data = config, data
        encoder = method.get_submodule("encoder")
        self.frozen = nn.ModuleDict({name: SlowCopy(encoder) for name in ("reference", "previous")})
        self._steps = 0

    def keep_previous(self, state: Mapping[str, Tensor], source: str) -> None:
        """Let the earlier encoder be that of a method's weights, and not that which is trained.

        Raises:
            UserError: It is of another architecture.
        """
        prefix = "encoder."
        own = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        load_exactly(self.frozen["previous"].get_submodule("network"), own, source)

    def forward(self, batch: Any, step: int, generator: torch.Generator) -> Losses:
        """Compute the method's losses, and add the term."""
        # Both draw from the beginning of what the step draws, as the method alone would.
        start = generator.get_state()
        losses: Losses = self._method[0](batch, step, generator)
        self._steps = step + 1
        if step < self._first_step:
            term = losses.total.new_zeros(())
        else:
            generator.set_state(start)
            term = self._term(batch, step, generator)
        metrics = {**losses.metrics, "model_contrast": term.detach()}
        return replace(losses, total=losses.total + self.config.weight * term, metrics=metrics)

    def after_update(self) -> None:
        """Bring the method's state up to date; at the end of a stage, keep the encoder."""
        if isinstance(self._method[0], AfterUpdate):
            self._method[0].after_update()
        if isinstance(self.config, ForgettingConfig) and self._steps % self.config.stage == 0:
            self.frozen["previous"].follow(self.encoder, 0.0)  # type: ignore[operator]

    def train(self, mode: bool = True) -> "ModelContrast":
        """Change the mode of the method, too."""
        self._method[0].training = mode
        return super().train(mode)

    @property
    def _first_step(self) -> int:
        return self.config.stage if isinstance(self.config, ForgettingConfig) else 0

    def _term(self, batch: Any, step: int, generator: torch.Generator) -> Float[Tensor, ""]:
        encoder: Any = self.encoder
        features, lengths = _features(encoder, batch)
        context = context_of(step, self.data, generator)
        own = encoder.encode_features(features, lengths, context).clip
        with torch.no_grad():
            frozen: Any = self.frozen.values()
            reference, previous = (
                copy.network.encode_features(features, lengths).clip for copy in frozen
            )
        there = (lengths > 0).to(own)
        each = model_contrast(own, reference, previous, self.config.temperature)
        return (each * there).sum() / there.sum().clamp(min=1.0)


def without_kept(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave the frozen encoders out of a method's weights."""
    return {name: value for name, value in state.items() if not name.startswith(FROZEN)}


def with_term(
    method: nn.Module, config: ModelContrastConfig, data: DataFacts | None = None
) -> ModelContrast:
    """Add the term to a method.

    Raises:
        UserError: Its encoder is not one of waveforms.
    """
    if not hasattr(method.get_submodule("encoder"), "encode_features"):
        raise UserError(
            f"{type(method).__name__}: has no single encoder of waveforms to hold to another one"
        )
    return ModelContrast(method, config, data or getattr(method, "data", None) or DataFacts())


def _features(encoder: FeatureEncoder, batch: Any) -> tuple[Tensor, Tensor]:
    """Compute features of cuts, or of the anchors of pairs."""
    if not hasattr(batch, "anchors"):
        return encoder.features(batch.waveforms, batch.lengths)
    size, device = batch.anchors.shape[1], batch.anchors.device
    lengths = torch.full((len(batch.anchors),), size, device=device)
    return encoder.features_of_leveled(batch.anchors, lengths)
