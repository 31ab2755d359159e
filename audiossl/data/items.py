"""Items: what a corpus consists of before it is read, whatever format it comes in."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from audiossl.errors import Skip

MEASURED = ("duration", "recording", "native_rate", "native_channels", "gain")
"""What is known of every stored cut whatever its labels say."""
SUPERVISION = ("speaker", "text", "language", "gender")
"""Labels that lhotse's supervisions have a field for."""


@dataclass(frozen=True)
class Item:
    """One cut to be: a piece of a recording, and what is known of it."""

    id: str
    """Unique in the corpus."""
    source: str
    """Path of an audio file or of a folder of stems; a shell command where `command` says so."""
    recording: str = ""
    """Identity of the recording it is a piece of; by default its own."""
    start: float = 0.0
    """Seconds into the recording."""
    duration: float | None = None
    """Seconds; to the end if None."""
    channel: int | None = None
    """Channel to read; the mean of all if None."""
    span: tuple[int, int] | None = None
    """First byte and number of bytes of the audio file, where `source` is a tar of such files."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Speaker, text, category, split, ... by name."""
    cut: Mapping[str, object] | None = None
    """The lhotse cut it is, where it comes from lhotse's manifests."""
    command: bool = False
    """Whether `source` is a shell command that writes audio, which the user has allowed to run."""
    problem: str = ""
    """Why it cannot be used, where that is known before it is read."""

    @property
    def known_duration(self) -> float | None:
        """Seconds, where they are known before it is read."""
        if self.cut is None:
            return self.duration
        duration = self.cut.get("duration")
        return float(duration) if isinstance(duration, (int, float)) else None


def without_duplicates(items: Iterable[Item]) -> list[Item]:
    """Keep the first item of each id; give the others a name of their own and a problem."""
    seen: Counter[str] = Counter()
    first: dict[str, str] = {}
    result = []
    for item in items:
        seen[item.id] += 1
        if seen[item.id] == 1:
            first[item.id] = item.source
            result.append(item)
            continue
        problem = (
            f"{item.source}: its id {item.id!r} is that of {first[item.id]} already: rename one "
            "(or mend the column or field that names them)"
        )
        result.append(replace(item, id=f"{item.id}#{seen[item.id]}", problem=problem))
    return result


def check_usable(item: Item) -> None:
    """Raise what is known to be wrong with an item.

    Raises:
        Skip: It cannot be used.
    """
    if item.problem:
        raise Skip(item.problem)


def stored_gain(labels: Mapping[str, str]) -> float:
    """Find the gain a cut of our own shards was stored with; that of others is theirs."""
    ours = "native_rate" in labels and "native_channels" in labels
    return float(labels.get("gain", 1.0)) if ours else 1.0
