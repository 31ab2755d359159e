"""Tables of labels: CSV, or by its suffix TSV, with a header and a column `path`."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from audiossl.data.lines import regular_bytes
from audiossl.errors import UserError, did_you_mean

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_labels(path: str | Path) -> dict[str, dict[str, str]]:
    """Read a table of labels: `path` of each recording to its other columns, empty ones left out.

    UTF-8, or UTF-16 with its mark, as spreadsheets write it. Rows of nothing but delimiters, which
    they leave at the end, are no rows; columns without a name, which are row numbers, no labels.

    Raises:
        UserError: The file cannot be read, has no column `path`, names a recording twice, or a row
            has no path or another number of columns; names the line.
    """
    path = Path(path)
    delimiter = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    rows: dict[str, dict[str, str]] = {}
    for where, row in _rows(path, _text(path), delimiter):
        name = row.pop("path")
        if not name:
            raise UserError(f"{where}: has no path, but {', '.join(filter(None, row.values()))}")
        if name in rows:
            raise UserError(f"{where}: {name!r} is labeled a second time")
        rows[name] = {column: value for column, value in row.items() if column and value}
    return rows


def _text(path: Path) -> str:
    content = regular_bytes(path)
    encoding = "utf-16" if content.startswith(_UTF16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: cannot be read as {error.encoding}: save the table as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}, line {line}: holds a NUL byte: save the table as UTF-8")
    return text


def _rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield where each row ends, for messages, and the row."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        _check_header(path, header, delimiter)
        for values in reader:
            if not any(values):
                continue
            where = f"{path}, line {reader.line_num}"
            if len(values) != len(header):
                name = values[header.index("path")] if len(values) > header.index("path") else "?"
                raise UserError(
                    f"{where}: {name!r} has another number of columns than the header: quote what "
                    "contains the delimiter"
                )
            yield where, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: cannot be read as a table of labels ({error})"
        ) from error


def _check_header(path: Path, header: Sequence[str], delimiter: str) -> None:
    if "path" not in header:
        other = next((d for d in ";,\t" if d != delimiter and d in "".join(header)), "")
        advice = f"; its delimiter is {other!r}, expected {delimiter!r}" if other else ""
        raise UserError(
            f"{path}: no column 'path' in its header ({', '.join(header)})"
            f"{did_you_mean('path', header)}{advice}"
        )
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise UserError(f"{path}: two columns are called {twice[0]!r}: rename one")
