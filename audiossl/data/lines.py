"""Text files of other tools, line by line, as they are: nothing in them is guessed or repaired.

Only LF and CRLF end a line. Other characters that Python takes for line ends (U+2028, U+0085, form
feeds, ...) are text, and so are spaces beyond ASCII: transcripts contain them. Marks of byte order
are no text, wherever tools that join files have left them.
"""

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from audiossl.errors import UserError

SPACES = " \t\r\f\v"
"""What separates words in the files of Kaldi and NIST."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def text_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Read a UTF-8 file.

    Yields:
        Where each line is, for messages ("text, line 3"), and the line without its end.

    Raises:
        UserError: It is no file, cannot be read, or is not UTF-8; names the line.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            for number, row in enumerate(file, start=1):
                where = f"{path}, line {number}"
                yield where, _decoded(row.removesuffix(b"\n").removesuffix(b"\r"), where)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def _decoded(row: bytes, where: str) -> str:
    try:
        return row.decode("utf-8").replace("\N{BYTE ORDER MARK}", "")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{row[error.start]:02x} at column {error.start + 1}"
        raise UserError(f"{where}: not UTF-8 ({byte}): save the file as UTF-8") from error


def regular_bytes(path: Path) -> bytes:
    """Read a file that has an end: no pipe, no folder, no device.

    Raises:
        UserError: It is none, or cannot be read.
    """
    check_regular(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def check_regular(path: Path) -> None:
    """Refuse what is no file, or has no end.

    Raises:
        UserError: It is missing, a pipe, a folder or a device.
    """
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({_reason(error)})") from error
    if not regular:
        raise UserError(f"{path}: not a file: copy what it holds into one and name that")


def words_of(line: str) -> list[str]:
    """Split a line at ASCII white space."""
    return re.findall(f"[^{SPACES}]+", line)


def seconds_of(word: str, where: str) -> float:
    """Read a time, in plain decimal figures.

    Raises:
        UserError: It is no finite number; says where it stands.
    """
    # float() takes "nan", "1_000" and figures of other scripts, too.
    if not _NUMBER.fullmatch(word) or abs(float(word)) == float("inf"):
        raise UserError(f"{where}: {word!r} is no time in seconds")
    return float(word)


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
