"""Maps of embeddings: a panel an encoder, all colored by one label at a time."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from audiossl.reports.page import paragraph

KINDS = {
    "tsne": "t-SNE of the clip embeddings: neighbors are neighbors, distances mean little.",
    "pca": "The two directions in which the clip embeddings vary most (PCA).",
}


@dataclass(frozen=True)
class Maps:
    """Points of a corpus, laid out under several encoders."""

    projection: str
    """"tsne" or "pca"."""
    ids: Sequence[str]
    labels: Mapping[str, Sequence[str]]
    """Label to its value for each point; "" where there is none."""
    places: Mapping[str, Sequence[Sequence[float]]]
    """Encoder to (x, y) of each point, in [0, 1]."""


def maps_section(maps: Maps) -> str:
    """Draw the panels; the script of the page colors them."""
    if not maps.places or not maps.labels:
        return ""
    data = {"ids": maps.ids, "labels": maps.labels, "places": maps.places}
    # No "<" may end, or begin, an element inside the one that the data are in.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    options = "".join(f"<option>{escape(name)}</option>" for name in maps.labels)
    panels = "".join(
        f'<figure><figcaption>{escape(name)}</figcaption><div class="map" '
        f'data-encoder="{escape(name)}"><svg viewBox="0 0 100 100" preserveAspectRatio="none" '
        f'role="img" aria-label="map of {escape(name)}"></svg><output></output></div></figure>'
        for name in maps.places
    )
    caption = f"{KINDS.get(maps.projection, maps.projection)} {len(maps.ids)} cuts; nothing is"
    return (
        f"<div data-maps>{paragraph(f'{caption} measured on it.', 'meta')}"
        f'<script type="application/json">{text}</script>'
        f'<div class="controls"><label>colored by <select>{options}</select></label></div>'
        f'<ul class="legend"></ul><div class="panels">{panels}</div>'
        "<noscript><p>The maps need JavaScript; map.png beside this page does not.</p></noscript>"
        "</div>"
    )
