"""Models of the Hugging Face hub by name: `org/name@revision`.

A revision (a branch, a tag, a commit) asks for what is not in the hub's cache yet; a name alone
takes the copy in the cache and never downloads. Settings and weights are fetched, and no code.
"""

import re
from collections.abc import Callable
from pathlib import Path

from audiossl.errors import UserError
from audiossl.installation import missing_package

NAME = re.compile(r"(?P<model>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
SAFE, PICKLED = ["*.json", "*.safetensors"], ["*.json", "*.bin", "*.pt"]
"""Files that are fetched; pickles, which are read without running them, where nothing else is."""


def local_copy(place: str, source: str) -> str:
    """Find the folder of a model, in the hub's cache if `place` is a name and no path here.

    Args:
        place: A path, "org/name" or "org/name@revision".
        source: What the user calls the encoder, for messages.

    Returns:
        The path as it is, or the folder of the copy.

    Raises:
        UserError: It is a name, and nothing is in the cache, or cannot be fetched.
    """
    named = NAME.fullmatch(place)
    if named is None or Path(place).exists():
        return place
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        reason = missing_package("a name on the hub", error.name, "hub")
        raise UserError(f"{source}: no such path here; {reason}") from error
    model, revision = named["model"], named["revision"]
    try:
        return _fetched(huggingface_hub.snapshot_download, model, revision)
    except Exception as error:  # the hub's own, and those of whatever it talks to networks with
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        if revision is None:
            first, _, rest = source.partition(place)
            raise UserError(
                f"{source}: no such path here, and no copy in the hub's cache; to download it say "
                f"which revision, as in {first}{place}@main{rest}, or run: hf download {model}"
            ) from error
        raise UserError(
            f"{source}: not in the hub's cache, and cannot be fetched ({reason}); where there is a "
            f"network, run: hf download {model} --revision {revision}"
        ) from error


def _fetched(download: Callable[..., str], model: str, revision: str | None) -> str:
    """Fetch what is missing; without a revision look into the cache alone."""
    offline = revision is None
    folder = download(model, revision=revision, allow_patterns=SAFE, local_files_only=offline)
    if any(Path(folder).glob("*.safetensors")):
        return folder
    return download(model, revision=revision, allow_patterns=PICKLED, local_files_only=offline)
