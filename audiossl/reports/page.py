"""A page: one self-contained HTML file, for a phone or a screen, by day or by night."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath "
    "d='M2 6v4M5 3v10M8 5v6M11 1v14M14 6v4' stroke='%231f6fb5' stroke-width='1.8' "
    "stroke-linecap='round'/%3E%3C/svg%3E"
)


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading."""

    title: str
    body: str
    """HTML."""

    @property
    def anchor(self) -> str:
        """Name by which links find it."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Put a page together; style and script are inside, nothing is fetched.

    Args:
        title: Its heading, as text.
        lead: HTML below it.
        sections: What follows; those without a body are left out.
    """
    shown = [section for section in sections if section.body]
    links = "".join(f'<a href="#{s.anchor}">{escape(s.title)}</a>' for s in shown)
    parts = "".join(
        f'<section id="{s.anchor}"><h2>{escape(s.title)}</h2>{s.body}</section>' for s in shown
    )
    nav = f"<nav>{links}</nav>" if len(shown) > 1 else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="{ICON}">'
        f"<style>{_asset('page.css')}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{lead}{nav}</header><main>{parts}</main>"
        f"<script>{_asset('page.js')}</script></body></html>\n"
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], kind: str = "plain") -> str:
    """Write a table whose first column names the rows; cells are text."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr><th>{escape(str(row[0]))}</th>"
        + "".join(
            f'<td data-column="{escape(column)}">{escape(str(cell))}</td>'
            for column, cell in zip(columns[1:], row[1:], strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def paragraph(text: str, kind: str = "") -> str:
    """Write a paragraph of text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def _asset(name: str) -> str:
    return files("audiossl.reports").joinpath(name).read_text(encoding="utf-8")
