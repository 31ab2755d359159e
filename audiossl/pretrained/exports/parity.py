"""Does an encoder leave this package as it is? Forms of export, written, read back and compared."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from audiossl.errors import UserError
from audiossl.models.properties import Finding
from audiossl.pretrained.certificate import Difference
from audiossl.pretrained.exports.forms import FORMS, Export, writer_of

QUICK = ("spear", "hf")
"""Forms of the network itself that are written in seconds; onnx and torch trace it, for minutes."""
TOLERANCE = 0.01
"""Largest difference, relative to the root mean square of an output, of what counts as the same."""


def check_exports(source: str, encoder: Any, forms: Sequence[str] = QUICK) -> Iterator[Finding]:
    """Export an encoder in some forms and measure how far each is from it; no file is left behind.

    Args:
        source: Name of the encoder.
        encoder: The same, loaded, on the CPU.
        forms: Keys of `FORMS`; one that an encoder cannot have, or whose packages are missing, is
            reported, and no failure.

    Raises:
        UserError: There is no such form.

    Example:
        >>> from audiossl.pretrained.load import load_encoder
        >>> (found,) = check_exports("log_mel:8", load_encoder("log_mel:8"), ["hear"])
        >>> found.name, found.holds
        ('export to hear', True)
    """
    for form in forms:
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
            place = Path(folder) / form.rpartition(":")[2]
            export = Export(source, encoder, output=place)
            try:
                finding = _finding(writer_of(form, export)(place, export))
            except UserError as error:
                if form not in FORMS:
                    raise
                finding = Finding("", None, str(error).removeprefix(f"{source}: "))
        yield replace(finding, name=f"export to {form}")


def _finding(differences: list[Difference]) -> Finding:
    exact = [one for one in differences if not one.rough]
    # Also false for NaN.
    same = all(one.largest <= TOLERANCE * max(one.size, 1e-9) for one in exact)
    worst = max(exact, key=lambda one: one.largest / max(one.size, 1e-9))
    figures = f"{worst.name} differs by at most {worst.largest:.1e}, its size is {worst.size:.2g}"
    return Finding("", same, "the same bits" if worst.largest == 0 else figures)
