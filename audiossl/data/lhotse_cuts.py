"""Items from lhotse's own formats: cuts, recordings with supervisions, or a folder of Shar."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lhotse import CutSet, MonoCut, RecordingSet, SupervisionSet
from lhotse.serialization import deserialize_item, load_manifest_lazy

from audiossl.data.items import SUPERVISION, Item, without_duplicates
from audiossl.errors import UserError

_BOOKKEEPING = ("shard_origin", "shar_epoch", "dataloading_info")
"""Fields that lhotse's readers add to cuts."""


def lhotse_items(
    manifest: Path, supervisions: Path | None = None, root: Path | None = None
) -> list[Item]:
    """List the cuts of a manifest (.jsonl, .jsonl.gz).

    Args:
        manifest: Cuts, or recordings.
        supervisions: Supervisions of the recordings; each becomes a cut.
        root: Where relative paths of recordings begin.

    Raises:
        UserError: It cannot be read, or is another kind of manifest.
    """
    try:
        cuts = _cuts(load_manifest_lazy(manifest), supervisions, manifest)
        if root is not None:
            cuts = cuts.with_recording_path_prefix(root)
        return without_duplicates(cut_item(cut) for cut in cuts)
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise UserError(f"{manifest}: not a manifest of lhotse ({error})") from error


def shar_shards(folder: Path) -> list[Path]:
    """Find the cuts of a Shar folder, a file a shard."""
    return sorted(folder.glob("cuts.*.jsonl*"))


def shar_items(cuts: Path) -> Iterator[Item]:
    """Read one Shar shard, audio included, in order.

    Args:
        cuts: Its file of cuts; the recordings lie beside it.
    """
    shard = cuts.name.split(".")[1]
    recording = cuts.with_name(f"recording.{shard}.tar")
    if not recording.exists():
        raise UserError(f"{recording}: missing; the shard has cuts and no recordings")
    for cut in CutSet.from_shar(fields={"cuts": [str(cuts)], "recording": [str(recording)]}):
        yield cut_item(cut, memory=True)


def cut_item(cut: Any, *, memory: bool = False) -> Item:
    """Describe a lhotse cut.

    Args:
        cut: Of one recording.
        memory: Keep the cut itself, whose audio is in memory, rather than its description.
    """
    if not isinstance(cut, MonoCut):
        raise UserError(
            f"cut {cut.id} is a {type(cut).__name__}; expected MonoCut: store mixed and padded "
            "cuts as recordings first (CutSet.save_audios)"
        )
    labels: dict[str, str] = {}
    for supervision in cut.supervisions[:1]:
        values = {name: getattr(supervision, name) for name in SUPERVISION}
        labels |= {name: str(value) for name, value in values.items() if value}
        labels |= _strings(supervision.custom)
    labels |= _strings(cut.custom)
    described = {"cut": cut} if memory else cut.to_dict()
    source = cut.recording.sources[0].source if not memory else cut.id
    return Item(cut.id, str(source), cut.recording_id, labels=labels, cut=described)


def load_cut(item: Item) -> tuple[Any, int]:
    """Decode the audio of an item that is a lhotse cut.

    Returns:
        Samples (channels, samples) at the cut's own rate, and that rate in Hz.
    """
    assert item.cut is not None
    cut: Any = item.cut.get("cut") or deserialize_item(dict(item.cut))
    return cut.load_audio(), cut.sampling_rate


def _cuts(manifest: Any, supervisions: Path | None, path: Path) -> CutSet:
    if isinstance(manifest, CutSet):
        return manifest
    if not isinstance(manifest, RecordingSet):
        raise UserError(f"{path}: holds {type(manifest).__name__}; expected cuts or recordings")
    if supervisions is None:
        return CutSet.from_manifests(recordings=manifest)
    spoken = SupervisionSet.from_file(supervisions)
    return CutSet.from_manifests(manifest, spoken).trim_to_supervisions(keep_overlapping=False)


def _strings(custom: dict[str, Any] | None) -> dict[str, str]:
    return {
        name: str(value)
        for name, value in (custom or {}).items()
        if isinstance(value, (str, int, float, bool)) and name not in _BOOKKEEPING
    }
