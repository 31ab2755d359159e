"""From a config to the untrained method that it describes, around an encoder."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import nn

from audiossl.batches import DataFacts
from audiossl.configs import configs_of, from_plain
from audiossl.errors import UserError
from audiossl.methods.asit import Asit, AsitConfig
from audiossl.methods.code_matching import CodeMatching, CodeMatchingConfig
from audiossl.methods.cola import Cola, ColaConfig
from audiossl.methods.distillation import Distillation, DistillationConfig
from audiossl.methods.frame_projections import FrameProjections, FrameProjectionsConfig
from audiossl.methods.masked_codes import MaskedCodes, MaskedCodesConfig
from audiossl.methods.masked_patches import MaskedPatches, MaskedPatchesConfig
from audiossl.methods.privileged import Privileged, PrivilegedConfig
from audiossl.methods.soft_negatives import SoftNegatives, SoftNegativesConfig
from audiossl.methods.source_association import SourceAssociation, SourceAssociationConfig
from audiossl.methods.time_contrast import TimeContrast, TimeContrastConfig
from audiossl.python_objects import UserDefined, python_object

METHODS: dict[type, Any] = {
    ColaConfig: Cola,
    SourceAssociationConfig: SourceAssociation,
    SoftNegativesConfig: SoftNegatives,
    TimeContrastConfig: TimeContrast,
    MaskedCodesConfig: MaskedCodes,
    CodeMatchingConfig: CodeMatching,
    MaskedPatchesConfig: MaskedPatches,
    AsitConfig: Asit,
    FrameProjectionsConfig: FrameProjections,
    DistillationConfig: Distillation,
    PrivilegedConfig: Privileged,
}
"""Config -> class, which is made from an encoder, the config, and facts of the data."""

ViewMethodConfig: TypeAlias = (
    ColaConfig | SourceAssociationConfig | SoftNegativesConfig | TimeContrastConfig | UserDefined
)
"""Methods of pairs of crops (`ViewBatch`)."""
CodeMethodConfig: TypeAlias = MaskedCodesConfig | UserDefined
"""Methods of cuts with the codes of teachers (`CodeBatch`)."""
PairMethodConfig: TypeAlias = CodeMatchingConfig | UserDefined
"""Methods of clips in several modalities (`PairBatch`)."""
WaveformMethodConfig: TypeAlias = (
    MaskedPatchesConfig | AsitConfig | FrameProjectionsConfig | UserDefined
)
"""Methods of waveforms and nothing else (`WaveformBatch`)."""
CropMethodConfig: TypeAlias = DistillationConfig | UserDefined
"""Methods of crops that frozen teachers are given (`CropBatch`)."""
StemMethodConfig: TypeAlias = PrivilegedConfig | UserDefined
"""Methods of crops of mixtures and of their stems (`StemBatch`)."""
MethodConfig: TypeAlias = (
    ViewMethodConfig
    | CodeMethodConfig
    | PairMethodConfig
    | WaveformMethodConfig
    | CropMethodConfig
    | StemMethodConfig
)
"""Every method that pretrains."""


def build_method(config: Any, encoder: nn.Module, data: DataFacts | None = None) -> nn.Module:
    """Make the untrained method that `config` describes.

    Args:
        config: One of `MethodConfig`.
        encoder: What it trains: a `FeatureEncoder`, or a `ModuleDict` of those of modalities.
        data: Facts of its batches.

    Raises:
        UserError: A user's class is not found, or the encoder lacks what the method needs.
    """
    factory = METHODS.get(type(config)) or python_object(config.kind)
    if not (isinstance(factory, type) and issubclass(factory, nn.Module)):
        raise UserError(f"{config.kind}: is no class of a torch module")
    method: nn.Module = factory(encoder, config, data or DataFacts())
    if not isinstance(getattr(method, "encoder", None), nn.Module):
        raise UserError(f"{config.kind}: keep what is trained as self.encoder")
    return method


def read_method_config(content: Mapping[str, Any], source: str) -> Any:
    """Read the config of a method; an old one without `kind` is recognized by its settings.

    Example:
        >>> read_method_config({"kind": "cola", "projection_dim": 64}, "an example").loss
        InfoNceConfig(kind='info_nce')
    """
    if "kind" not in content:
        configs = configs_of(MethodConfig)
        fields = {kind: {f.name for f in dataclasses.fields(c)} for kind, c in configs.items()}
        fitting = [kind for kind, names in fields.items() if content.keys() <= names]
        content = {**content, **({"kind": fitting[0]} if fitting else {})}
    return from_plain(MethodConfig, dict(content), source)
