"""What codes of a shared codebook fire on, side by side: to be heard and looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float

from audiossl.reports.sounds import sound


@dataclass(frozen=True)
class Heard:
    """A piece of sound around the place where a code fires."""

    waveform: Float[np.ndarray, " samples"]
    """At 16 kHz."""
    caption: str


@dataclass(frozen=True)
class Read:
    """A text, and where in it a code fires."""

    units: tuple[str, ...]
    """Characters, or phones."""
    places: tuple[tuple[int, int], ...]
    """First unit and the one behind the last."""
    caption: str


@dataclass(frozen=True)
class Told:
    """A clip that can be neither heard nor read: where in it a code fires."""

    caption: str


Example = Heard | Read | Told


@dataclass(frozen=True)
class CodeCard:
    """One code."""

    code: int
    uses: Mapping[str, float]
    """Share of each side's frames."""
    names: str
    """What labels its frames have most."""
    examples: Mapping[str, Sequence[Example]]
    """Of each side."""


def code_cards(cards: Sequence[CodeCard]) -> str:
    """Write codes as cards, one side beside the other."""
    return "".join(_card(card) for card in cards)


def marked(text: Read) -> str:
    """Write a text in which the places of a code are marked."""
    joined = "" if all(len(unit) == 1 for unit in text.units) else " "
    fires = np.zeros(len(text.units), bool)
    for first, last in text.places:
        fires[first:last] = True
    pieces = [
        f"<mark>{escape(unit)}</mark>" if on else escape(unit)
        for unit, on in zip(text.units, fires, strict=True)
    ]
    # Neighbors are one mark, so that a word reads as one.
    return joined.join(pieces).replace(f"</mark>{joined}<mark>", joined)


def _card(card: CodeCard) -> str:
    uses = ", ".join(f"{side} {share:.1%}" for side, share in card.uses.items())
    said = f"{uses}; {card.names}" if card.names else uses
    columns = "".join(
        f'<div><p class="meta">{escape(side)}</p>{"".join(_example(e) for e in examples)}</div>'
        for side, examples in card.examples.items()
    )
    return (
        f'<article><h3>Code {card.code}</h3><p class="meta">{escape(said)}</p>'
        f'<div class="grid">{columns}</div></article>'
    )


def _example(example: Example) -> str:
    match example:
        case Heard():
            return sound(example.waveform, example.caption)
        case Read():
            caption = f' <span class="meta">{escape(example.caption)}</span>'
            return f"<p>{marked(example)}{caption if example.caption else ''}</p>"
        case Told():
            return f'<p class="meta">{escape(example.caption)}</p>'
