"""The pair inspector: a page on which a person hears and sees what a method is trained on."""

from collections.abc import Sequence
from html import escape

import numpy as np

from audiossl.reports.page import Section, page, paragraph, table
from audiossl.reports.pairs import Pair
from audiossl.reports.sounds import sound


def some_of_each(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Choose `count` pairs, of each source in turn: one surprising, one usual, and so on."""
    queues = []
    for source in sorted({pair.source for pair in pairs}):
        own = [pair for pair in pairs if pair.source == source]
        middle = len(own) // 2
        queues.append([own[0], *own[middle:], *own[1:middle]] if middle else own)
    turns = [queue[turn] for turn in range(len(pairs)) for queue in queues if turn < len(queue)]
    return turns[:count]


def pairs_page(pairs: Sequence[Pair], title: str, about: str, *, most: int = 48) -> str:
    """Write the page of a pair inspector.

    Args:
        pairs: What `inspect_pairs` returned.
        title: Heading.
        about: Which run, at which step.
        most: Pairs to hear: the most surprising half of them, and as many others at random, so
            that the page shows what is usual, too. What is summed up is all.
    """
    shown = _shown(pairs, most)
    about = f"{about}; {len(shown)} of {len(pairs)} pairs that were scored"
    lead = paragraph(about, "meta") + paragraph(
        "Click a spectrogram to hear it. Surprise is the cross-entropy of a pair: how little the "
        "checkpoint expects this positive of this anchor, among all candidates of its batch. What "
        "stands first is a hard pair, or a wrong one: listen."
    )
    sections = [
        Section("Sources", source_table(pairs)),
        Section("Pairs", pair_controls(shown, "pairs") + pair_cards(shown, "pairs")),
    ]
    return page(title, lead, sections)


def source_table(pairs: Sequence[Pair]) -> str:
    """Sum up the pairs of each source."""
    rows = []
    for source in sorted({pair.source for pair in pairs}):
        own = [pair for pair in pairs if pair.source == source]
        levels = [pair.dbfs for pair in own if np.isfinite(pair.dbfs)]
        rows.append(
            [
                source,
                len(own),
                f"{np.mean([pair.active for pair in own]):.0%}",
                f"{np.median(levels):.0f} dBFS" if levels else "silent",
                f"{np.mean([pair.rank == 1 for pair in own]):.0%}",
                f"{np.median([pair.surprise for pair in own]):.2f}",
            ]
        )
    columns = ["source", "pairs", "active", "median level", "found first", "median surprise"]
    return table(columns, rows)


def pair_controls(pairs: Sequence[Pair], identity: str) -> str:
    """Let a person sort and choose."""
    orders = {
        "most surprising first": "surprise down",
        "least surprising first": "surprise up",
        "least similar first": "similarity up",
        "faintest source first": "dbfs up",
        "loudest source first": "dbfs down",
        "by recording": "recording up",
    }
    options = "".join(f'<option value="{key}">{label}</option>' for label, key in orders.items())
    names = sorted({escape(pair.source) for pair in pairs})
    sources = "".join(f"<option>{name}</option>" for name in names)
    return (
        f'<div class="controls" data-pairs="{identity}">'
        f'<label>order <select name="order">{options}</select></label>'
        f'<label>source <select name="source"><option value="">all</option>{sources}</select>'
        "</label></div>"
    )


def pair_cards(pairs: Sequence[Pair], identity: str = "") -> str:
    """Show pairs, each with its two sounds and what is known of it."""
    name = f' id="{identity}"' if identity else ""
    return f'<div class="pairs"{name}>{"".join(_card(pair) for pair in pairs)}</div>'


def _shown(pairs: Sequence[Pair], most: int) -> list[Pair]:
    strangest, rest = pairs[: (most + 1) // 2], pairs[(most + 1) // 2 :]
    count = min(len(rest), most // 2)
    others = np.random.default_rng(0).choice(len(rest), count, replace=False)
    return [*strangest, *(rest[index] for index in np.sort(others))]


def _card(pair: Pair) -> str:
    anchor = sound(pair.anchor, f"anchor, {pair.starts[0]:.1f} s")
    caption = f"{pair.source}, {pair.starts[1]:.1f} s"
    positive = '<div class="absent">silent</div>'
    if np.abs(pair.positive).max() > 0:
        positive = sound(pair.positive, caption if pair.active else f"{caption} (absent)")
    level = f"{pair.dbfs:.0f} dBFS" if np.isfinite(pair.dbfs) else "silent"
    facts = {
        "source": escape(pair.source),
        "level": level if pair.active else f'{level} <span class="flag">absent</span>',
        "similarity": f"{pair.similarity:.2f}",
        "rank": f"{pair.rank} of {pair.candidates}",
        "surprise": f"{pair.surprise:.2f}",
    }
    if pair.mistaken_for:
        facts["taken for"] = escape(pair.mistaken_for)
    listed = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts.items())
    dbfs = pair.dbfs if np.isfinite(pair.dbfs) else -999.0
    return (
        f'<article class="pair" data-surprise="{pair.surprise:.4f}" '
        f'data-similarity="{pair.similarity:.4f}" data-dbfs="{dbfs:.2f}" '
        f'data-recording="{escape(pair.recording)}" data-source="{escape(pair.source)}">'
        f"<h4>{escape(pair.recording)}</h4>"
        f'<div class="both">{anchor}{positive}</div><dl>{listed}</dl></article>'
    )
