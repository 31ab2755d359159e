"""What a user can cause and mend: one line that says which item, what was found, what to do."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake of the caller: shown as one line, without a traceback, with exit code 2."""


class Skip(UserError):
    """One item that cannot be used; a stage may leave it out, count it, and go on."""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Name the closest of `choices`, as the end of an error message; empty if none is close."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
