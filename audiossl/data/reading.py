"""From an item to its waveform: 16 kHz mono, whatever it was."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from audiossl.audio.files import audio_info, read_audio, read_waveform
from audiossl.audio.listing import holds
from audiossl.audio.resampling import resample_blocks
from audiossl.data.commands import command_output
from audiossl.data.folder import stem_files
from audiossl.data.items import Item, check_usable, stored_gain
from audiossl.data.layout import MIXTURE
from audiossl.data.layout import SAMPLE_RATE as SAMPLE_RATE
from audiossl.data.lhotse_cuts import load_cut
from audiossl.errors import Skip


@dataclass(frozen=True)
class Sound:
    """A waveform, and what it was before."""

    waveform: Float[np.ndarray, " samples"]
    """Mono, at 16 kHz."""
    native_rate: int
    """Samples a second of the source."""
    native_channels: int
    """Channels of the source."""


def read_item(item: Item) -> Sound:
    """Decode, mix to mono and resample an item.

    Raises:
        Skip: It cannot be read, or there is nothing in it.
    """
    check_usable(item)
    if item.cut is not None:
        return _read_cut(item)
    if item.command:
        return _read_command(item)
    path = Path(item.source)
    if item.span is not None:
        return _read_span(path, item, *item.span)
    if holds(path.is_dir):
        return _read_stems(path)
    return _read_file(path, item)


def _read_file(path: Path, item: Item) -> Sound:
    info = audio_info(path)
    start, duration = item.start, item.duration
    if item.channel is None or info.num_channels == 1:
        waveform = read_waveform(path, sample_rate=SAMPLE_RATE, start=start, duration=duration)
    elif item.channel < info.num_channels:
        audio = read_audio(path, sample_rate=SAMPLE_RATE, start=start, duration=duration)
        waveform = audio.samples[item.channel]
    else:
        raise Skip(f"{path}: has {info.num_channels} channels, and channel {item.channel} is asked")
    return Sound(waveform, info.sample_rate, info.num_channels)


def _read_span(path: Path, item: Item, first: int, size: int) -> Sound:
    """Read a file that lies in a tar, by a copy of its own."""
    suffix = Path(item.id).suffix
    with tempfile.NamedTemporaryFile(suffix=suffix) as copy, path.open("rb") as tar:
        tar.seek(first)
        copy.write(tar.read(size))
        copy.flush()
        try:
            return _read_file(Path(copy.name), item)
        except Skip as error:
            raise Skip(f"{path}, {item.id}: {error}") from error


def _read_stems(folder: Path) -> Sound:
    """Read the mixture of a folder, or add up its stems."""
    files = stem_files(folder)
    if not files:
        raise Skip(f"{folder}: a recording as a folder, but no audio files in it")
    if MIXTURE in files:
        files = {MIXTURE: files[MIXTURE]}
    infos = [audio_info(path) for path in files.values()]
    waveforms = [read_waveform(path, sample_rate=SAMPLE_RATE) for path in files.values()]
    lengths = {name: len(waveform) for name, waveform in zip(files, waveforms, strict=True)}
    # A codec's last block may round; a stem that is really shorter would mix silence in.
    if max(lengths.values()) - min(lengths.values()) > SAMPLE_RATE // 100:
        short = min(lengths, key=lambda name: lengths[name])
        raise Skip(
            f"{files[short]}: {lengths[short] / SAMPLE_RATE:.3f} s, shorter than the other stems "
            f"({max(lengths.values()) / SAMPLE_RATE:.3f} s): all stems must be as long as their sum"
        )
    shortest = min(lengths.values())
    mixture = np.stack([waveform[:shortest] for waveform in waveforms]).sum(axis=0)
    return Sound(mixture, infos[0].sample_rate, max(info.num_channels for info in infos))


def _read_command(item: Item) -> Sound:
    with command_output(item.source, item.id) as path:
        try:
            return _read_file(path, item)
        except Skip as error:
            reason = str(error).removeprefix(f"{path}: ")
            raise Skip(f"{item.id}: what the command writes ({item.source}): {reason}") from error


def _read_cut(item: Item) -> Sound:
    try:
        samples, rate = load_cut(item)
    except Skip:
        raise
    except Exception as error:
        # lhotse has no exception of its own: whatever a decoder behind it raises comes through.
        raise Skip(f"cut {item.id}: cannot be read ({error})") from error
    mono = samples.mean(axis=0, dtype=np.float32) / np.float32(stored_gain(item.labels))
    if mono.size == 0 or not np.isfinite(mono).all():
        raise Skip(f"cut {item.id}: empty, or holds NaN or infinity")
    if rate != SAMPLE_RATE:
        mono = np.concatenate(list(resample_blocks([mono[:, None]], rate, SAMPLE_RATE)))[:, 0]
    return Sound(mono, rate, len(samples))
