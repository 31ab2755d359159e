"""Plain text in columns, for a terminal or a pipe."""

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[object]], indent: str = "") -> str:
    """Align cells; the last column may be of any width."""
    cells = [[str(cell) for cell in row] for row in rows]
    count = max((len(row) for row in cells), default=0)
    widths = [max((len(row[i]) for row in cells if i < len(row)), default=0) for i in range(count)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in cells
    )
    return "\n".join(indent + line for line in lines)


def markdown(rows: Sequence[Sequence[object]]) -> str:
    """Write a table of Markdown whose first row is its head."""
    head, *body = [" | ".join(str(cell) for cell in row) for row in rows]
    rule = "|".join(" --- " for _ in rows[0])
    return "\n".join([f"| {head} |", f"|{rule}|", *(f"| {line} |" for line in body)])


def latex(rows: Sequence[Sequence[object]]) -> str:
    r"""Write a table of LaTeX (booktabs) whose first row is its head.

    >>> print(latex([["task", "score"], ["a_b", "50 %"]]))
    \begin{tabular}{lr}
    \toprule
    task & score \\
    \midrule
    a\_b & 50 \% \\
    \bottomrule
    \end{tabular}
    """
    head, *body = [" & ".join(map(_escaped, row)) + r" \\" for row in rows]
    form = "l" + "r" * (len(rows[0]) - 1)
    lines = [rf"\begin{{tabular}}{{{form}}}", r"\toprule", head, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _escaped(cell: object) -> str:
    return "".join(f"\\{c}" if c in "&%$#_{}" else c for c in str(cell))
