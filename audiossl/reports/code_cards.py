"""Cards of codes of a shared codebook: where each fires in every modality, as audio and text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float

from audiossl.reports.sounds import sound


@dataclass(frozen=True)
class SoundExample:
    """A piece of sound around the place where a code fires."""

    waveform: Float[np.ndarray, " samples"]
    """Waveform at 16 kHz."""
    caption: str
    places: tuple[tuple[float, float], ...] = ()
    """Places in it where the code fires, as shares of its length."""


@dataclass(frozen=True)
class TextExample:
    """A text, and where in it a code fires."""

    units: tuple[str, ...]
    """Characters, or phones."""
    places: tuple[tuple[int, int], ...]
    """First unit and the one behind the last."""
    caption: str


@dataclass(frozen=True)
class OtherExample:
    """A clip that is neither sound nor text: where in it a code fires."""

    caption: str


Example = SoundExample | TextExample | OtherExample


@dataclass(frozen=True)
class CodeCard:
    """One code."""

    code: int
    uses: Mapping[str, float]
    """Share of each modality's frames."""
    names: Mapping[str, str]
    """Most frequent labels of its frames in each modality, if they are known."""
    examples: Mapping[str, Sequence[Example]]
    """Clips of each modality in which it fires longest."""
    together: Mapping[str, Example]
    """One clip in which every modality has it, if there is one."""


def code_cards(cards: Sequence[CodeCard]) -> str:
    """Write codes as cards, one modality beside the other."""
    return f'<div class="codes">{"".join(_card(card) for card in cards)}</div>'


def marked(text: TextExample) -> str:
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
    uses = ", ".join(f"{share:.1%} of {name}" for name, share in card.uses.items())
    columns = "".join(_modality(card, name, own) for name, own in card.examples.items())
    together = ""
    if card.together:
        both = "".join(f"<div>{_example(example)}</div>" for example in card.together.values())
        together = (
            f'<div class="together"><h4>In one clip: {escape(" and ".join(card.together))}</h4>'
            f'<div class="grid">{both}</div></div>'
        )
    return (
        f'<article id="code-{card.code}"><h3>Code {card.code}</h3><p class="meta">fires in '
        f'{escape(uses)}</p><div class="grid">{columns}</div>{together}</article>'
    )


def _modality(card: CodeCard, name: str, examples: Sequence[Example]) -> str:
    names = f'<p class="meta">{escape(card.names[name])}</p>' if card.names.get(name) else ""
    shown = "".join(_example(example) for example in examples)
    shown = shown or '<p class="meta">it never fires here</p>'
    return f'<div><h4>{escape(name)}</h4>{names}<div class="examples">{shown}</div></div>'


def _example(example: Example) -> str:
    match example:
        case SoundExample():
            return sound(example.waveform, example.caption, example.places)
        case TextExample():
            caption = f'<br><span class="meta">{escape(example.caption)}</span>'
            return f"<p>{marked(example)}{caption if example.caption else ''}</p>"
        case OtherExample():
            return f'<p class="meta">{escape(example.caption)}</p>'
