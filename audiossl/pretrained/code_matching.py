"""Code matching on disk: all sides and their codebook, and any side of sound as an Encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from jaxtyping import Float, Int
from torch import Tensor, nn

from audiossl.atomic_files import read_json, write_json
from audiossl.configs import from_plain, plain
from audiossl.data.pair_corpus import SideFacts
from audiossl.errors import UserError, did_you_mean
from audiossl.methods.build import PairMethodConfig, build_method, read_method_config
from audiossl.methods.code_matching import CodeMatching
from audiossl.models.encoder import Encoder
from audiossl.models.side_encoders import SideConfig, build_side_encoder
from audiossl.nn.frames import Frames
from audiossl.nn.weights import load_exactly, read_weights, write_weights

FORMAT = 1
WEIGHTS, CONFIG = "code_matching.safetensors", "config.json"


@dataclass(frozen=True)
class Matching:
    """A method, and what its sides are."""

    method: CodeMatching
    sides: Mapping[str, SideFacts]


def build_matching(
    sides: Mapping[str, SideFacts], encoders: Mapping[str, SideConfig], config: PairMethodConfig
) -> CodeMatching:
    """Make an untrained method for sides as they are stored.

    Raises:
        UserError: A side has no encoder, or an encoder no side.
    """
    for name in encoders:
        if name not in sides:
            raise UserError(
                f"encoders: no side {name!r}{did_you_mean(name, sides)} "
                f"(the pairs have {', '.join(sides)})"
            )
    if missing := [side for side in sides if side not in encoders]:
        raise UserError(f"encoders: side {missing[0]!r} has none: say which under encoders")
    built = {
        side: build_side_encoder(encoders[side], facts.size, facts.frame_rate)
        for side, facts in sides.items()
    }
    return cast(CodeMatching, build_method(config, nn.ModuleDict(built)))


def write_matching(
    folder: Path, matching: Matching, encoders: Mapping[str, SideConfig], provenance: Any
) -> None:
    """Write a method; the config comes last, so that a folder with both is whole."""
    write_weights(folder / WEIGHTS, matching.method.state_dict(), {"format": "pt"})
    content = {
        "format": FORMAT,
        "sides": plain(dict(matching.sides)),
        "encoders": plain(dict(encoders)),
        "method": plain(matching.method.config),
        "provenance": provenance,
    }
    write_json(folder / CONFIG, content)


def load_matching(folder: Path) -> Matching:
    """Load a method, in evaluation mode.

    Raises:
        UserError: There is none, it is of a newer format, or weights and config do not fit.
    """
    path = folder / CONFIG
    if not (folder / WEIGHTS).exists() or not path.exists():
        raise UserError(
            f"{folder}: holds no {WEIGHTS} with its {CONFIG}: give the output of a finished "
            "recipes.code_matching.pretrain"
        )
    content = read_json(path)
    if content.get("format", 0) > FORMAT or "encoders" not in content:
        raise UserError(f"{path}: not a format that this version reads (up to {FORMAT})")
    facts = {side: from_plain(SideFacts, row, str(path)) for side, row in content["sides"].items()}
    encoders = {
        side: from_plain(SideConfig, row, str(path)) for side, row in content["encoders"].items()
    }
    config = read_method_config(content["method"], str(path))
    method = build_matching(facts, encoders, config)
    load_exactly(method, read_weights(folder / WEIGHTS), str(folder / WEIGHTS))
    return Matching(method.eval(), facts)


def load(place: str) -> nn.Module:
    """Load the encoder of one side: from waveforms through its front end to frames and clip vector.

    Args:
        place: A folder, and after a "#" the side; the only one of sound by default.

    Raises:
        UserError: The side is missing, or is not one of sound.
    """
    folder, _, side = place.partition("#")
    matching = load_matching(Path(folder))
    sounds = [name for name, facts in matching.sides.items() if facts.modality == "sound"]
    if side not in sounds and (side or len(sounds) != 1):
        raise UserError(
            f"{place}: say which side of sound, {folder}#{sounds[0] if sounds else 'side'} "
            f"(it has {', '.join(sounds) or 'none'}){did_you_mean(side, sounds)}"
        )
    return SoundSide(matching, side or sounds[0])


class SoundSide(nn.Module):
    """A side of sound as an `Encoder`: its front end, its network, and the clip's embedding."""

    def __init__(self, matching: Matching, side: str) -> None:
        super().__init__()
        # Imported here: the table of encoders has this file as one of its rows.
        from audiossl.pretrained.load import load_encoder

        self.side, self.method = side, matching.method
        self.front = load_encoder(matching.sides[side].front)
        front = cast(Encoder, self.front)
        encoder: Any = self.method.encoder[side]
        self.sample_rate, self.dim = front.sample_rate, int(encoder.dim)
        self.frame_rate = front.frame_rate / encoder.stride

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Encode waveforms; `layers` are the frames before and after the codebook's map."""
        inputs: Frames = self.front(waveforms, lengths)
        embedded = self.method.embed(self.side, inputs.vectors, inputs.lengths)
        frames, assigned = embedded.frames, embedded.assigned
        behind = () if assigned is None else (assigned.frames,)
        layers = (frames.vectors, *behind)
        return Frames(frames.vectors, frames.lengths, frames.frame_rate, layers, embedded.clip)
