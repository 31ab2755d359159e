"""Code matching on disk: encoders of modalities, their codebook; any of sound as an Encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.atomic_files import read_object, write_json
from audiossl.configs import from_plain, plain
from audiossl.data.pair_corpus import ModalityFacts
from audiossl.digests import sha256_of
from audiossl.earlier_names import renamed
from audiossl.errors import UserError, did_you_mean
from audiossl.methods.build import PairMethodConfig, build_method, read_method_config
from audiossl.methods.code_matching import CodeMatching
from audiossl.models.encoder import Encoder
from audiossl.models.modality_encoders import ModalityConfig, build_modality_encoder
from audiossl.nn.frames import Frames
from audiossl.nn.weights import load_exactly, read_weights, write_weights
from audiossl.pretrained.own import DIGEST, check_digest

FORMAT = 2
WEIGHTS, CONFIG = "code_matching.safetensors", "config.json"


@dataclass(frozen=True)
class Matching:
    """A method, and what its modalities are."""

    method: CodeMatching
    modalities: Mapping[str, ModalityFacts]


def build_matching(
    modalities: Mapping[str, ModalityFacts],
    encoders: Mapping[str, ModalityConfig],
    config: PairMethodConfig,
) -> CodeMatching:
    """Make an untrained method for modalities as they are stored.

    Raises:
        UserError: A modality has no encoder, or an encoder no modality.
    """
    for name in encoders:
        if name not in modalities:
            raise UserError(
                f"encoders: no modality {name!r}{did_you_mean(name, modalities)} "
                f"(the pairs have {', '.join(modalities)})"
            )
    if missing := [modality for modality in modalities if modality not in encoders]:
        raise UserError(f"encoders: modality {missing[0]!r} has none: say which under encoders")
    built = {
        modality: build_modality_encoder(encoders[modality], facts.size, facts.frame_rate)
        for modality, facts in modalities.items()
    }
    return cast(CodeMatching, build_method(config, nn.ModuleDict(built)))


def write_matching(
    folder: Path, matching: Matching, encoders: Mapping[str, ModalityConfig], provenance: Any
) -> None:
    """Write a method; the config comes last, so that a folder with both is whole."""
    write_weights(folder / WEIGHTS, matching.method.state_dict(), {"format": "pt"})
    content = {
        "format": FORMAT,
        "modalities": plain(dict(matching.modalities)),
        "encoders": plain(dict(encoders)),
        "method": plain(matching.method.config),
        "provenance": provenance,
    }
    write_json(folder / CONFIG, content | {DIGEST: sha256_of(folder / WEIGHTS)})


def load_matching(folder: Path) -> Matching:
    """Load a method, in evaluation mode.

    Raises:
        UserError: There is none, it is of a newer format, weights and config do not fit, or the
            weights are not those that were written.
    """
    path = folder / CONFIG
    if not (folder / WEIGHTS).exists() or not path.exists():
        raise UserError(
            f"{folder}: holds no {WEIGHTS} with its {CONFIG}: give the output of a finished "
            "recipes.code_matching.pretrain"
        )
    content = renamed(read_object(path, format=int))
    if content["format"] > FORMAT or "encoders" not in content:
        raise UserError(f"{path}: not a format that this version reads (up to {FORMAT})")
    source = str(path)
    facts = {
        name: from_plain(ModalityFacts, renamed(row), source)
        for name, row in content["modalities"].items()
    }
    encoders = {
        name: from_plain(ModalityConfig, row, source) for name, row in content["encoders"].items()
    }
    config = read_method_config(content["method"], source)
    method = build_matching(facts, encoders, config)
    check_digest(folder / WEIGHTS, content)
    load_exactly(method, read_weights(folder / WEIGHTS), str(folder / WEIGHTS))
    return Matching(method.eval(), facts)


def load(place: str) -> nn.Module:
    """Load the encoder of one modality: waveforms, its front end, then frames and clip vector.

    Args:
        place: A folder, and after a "#" the modality; the only one of sound by default.

    Raises:
        UserError: The modality is missing, or is not one of sound.
    """
    folder, _, modality = place.partition("#")
    matching = load_matching(Path(folder))
    sounds = [name for name, facts in matching.modalities.items() if facts.kind == "sound"]
    if modality not in sounds and (modality or len(sounds) != 1):
        raise UserError(
            f"{place}: say which sound modality, {folder}#{sounds[0] if sounds else 'modality'} "
            f"(it has {', '.join(sounds) or 'none'}){did_you_mean(modality, sounds)}"
        )
    return SoundModality(matching, modality or sounds[0])


class SoundModality(nn.Module):
    """A sound modality as an `Encoder`: its front end, its network, and the clip's embedding."""

    def __init__(self, matching: Matching, modality: str) -> None:
        super().__init__()
        # Imported here: the table of encoders has this file as one of its rows.
        from audiossl.pretrained.load import load_encoder

        self.kind, self.method = modality, matching.method
        self.front = load_encoder(matching.modalities[modality].front)
        front = cast(Encoder, self.front)
        encoder: Any = self.method.encoder[modality]
        self.sample_rate, self.dim = front.sample_rate, int(encoder.dim)
        self.frame_rate = front.frame_rate / encoder.stride

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode waveforms; `layers` are the frames before and after the codebook's map."""
        inputs: Frames = self.front(waveforms, lengths)
        embedded = self.method.embed(self.kind, inputs.vectors, inputs.lengths)
        frames, assigned = embedded.frames, embedded.assigned
        behind = () if assigned is None else (assigned.frames,)
        layers = (frames.vectors, *behind)
        return Frames(frames.vectors, frames.lengths, frames.frame_rate, layers, embedded.clip)
