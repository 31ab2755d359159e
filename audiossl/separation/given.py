"""A corpus that brings its stems: found, read, checked against their mixture, never estimated."""

import glob
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32

from audiossl.atomic_files import check_name
from audiossl.audio.files import read_waveform
from audiossl.configs import Nonnegative
from audiossl.errors import Skip, UserError

Waveform = Float32[np.ndarray, " _samples"]


@dataclass(frozen=True, kw_only=True)
class GivenConfig:
    """Stems that lie beside their mixtures."""

    kind: Literal["given"] = "given"
    sources: dict[str, str] = field(
        default_factory=lambda: {name: name for name in ("drums", "bass", "vocals", "other")}
    )
    """Source of each stem of the corpus; stems of one source are summed."""
    pattern: str = "{folder}/{stem}.*"
    """Path of the stem of a recording: {folder} is the folder that the recording is in (or that it
    is), {name} its name without suffix, {stem} the corpus' name of the stem, * anything."""
    absent: Literal["skip", "silent"] = "skip"
    """Meaning of a stem without file: leave the recording out, or the source is silent in it."""
    tolerance: Nonnegative = 0.01
    """Largest difference in duration of stem and mixture in seconds."""
    silence: float = -80.0
    """Peak level in dBFS below which a stem counts as silent."""
    residual: Nonnegative | None = None
    """Maximum level, in dB relative to the mixture, of what the stems do not sum up to; null: not
    checked. For corpora whose stems cover the whole mixture, some -30."""


@dataclass(frozen=True)
class Given:
    """The stems of one recording."""

    mixture: Waveform
    stems: dict[str, Waveform]
    """Stem of each source, as long as the mixture, and at its level in it."""
    absent: tuple[str, ...]
    """Sources for which there is no file; their stems are zeros."""
    silent: tuple[str, ...]
    """Sources below the level of silence, the absent ones among them."""


class GivenStems:
    """Reads the stems of a corpus in place of a `Separator`."""

    def __init__(self, config: GivenConfig) -> None:
        if not config.sources:
            raise UserError("given: sources is empty: say which stem is which source")
        try:
            config.pattern.format(folder="", name="", stem="")
            known = "{stem}" in config.pattern
        except (KeyError, IndexError, ValueError):
            known = False
        if not known:
            raise UserError(
                f"given: pattern={config.pattern!r}: expected {{stem}} in it, and of others only "
                "{folder} and {name}"
            )
        for name in config.sources.values():
            check_name(name, "given: source")
        self.config = config
        self.names: tuple[str, ...] = tuple(dict.fromkeys(config.sources.values()))
        self.identity: dict[str, Any] = {"separator": "given", **asdict(config)}

    def find(self, recording: Path | str) -> dict[str, Path]:
        """Find the files of the stems of a recording, which is a mixture or a folder of stems.

        Raises:
            Skip: There is none, several could be one stem, or one is missing that may not be.
        """
        recording = Path(recording)
        folder, name = recording.parent, recording.stem
        if recording.is_dir():
            folder, name = recording, recording.name
        present, missing = {}, []
        for stem in self.config.sources:
            files = self._candidates(folder, name, stem)
            if len(files) > 1:
                both = " and ".join(file.name for file in files)
                raise Skip(f"{recording}: {both} are both the stem {stem}: remove one")
            if files:
                present[stem] = files[0]
            else:
                missing.append(stem)
        self._check_missing(recording, missing, bool(present))
        return present

    def _candidates(self, folder: Path, name: str, stem: str) -> list[Path]:
        place, _, last = self.config.pattern.rpartition("/")
        # Brackets in names are no patterns; those of the config are.
        wanted = last.format(folder="", name=glob.escape(name), stem=glob.escape(stem))
        inside = Path(place.format(folder=folder, name=name, stem=stem))
        return sorted(file for file in inside.glob(wanted) if file.is_file())

    def read(
        self,
        files: Mapping[str, Path],
        mixture: Waveform | None = None,
        *,
        sample_rate: int = 16_000,
        start: float = 0.0,
        duration: float | None = None,
    ) -> Given:
        """Read stems as mono and check them against their mixture.

        Args:
            files: For each stem of the corpus its file, as `find` gives; those left out are absent.
            mixture: What they belong to, at `sample_rate`, from `start` on; their sum if None.
            sample_rate: Of mixture and stems, in Hz.
            start: Where to begin, in seconds.
            duration: How much to read, in seconds; all if None.

        Raises:
            Skip: There is no file, or one that cannot be read; a stem is shorter or longer than its
                mixture; all are silent though the mixture is not; they do not sum to it as they
                should.
        """
        if not files:
            raise Skip("a recording without one stem: leave it out")
        waveforms = {
            stem: read_waveform(path, sample_rate=sample_rate, start=start, duration=duration)
            for stem, path in files.items()
        }
        length = max(map(len, waveforms.values())) if mixture is None else len(mixture)
        stems = {name: np.zeros(length, np.float32) for name in self.names}
        for stem, waveform in waveforms.items():
            source = self.config.sources[stem]
            stems[source] += self._fit(files[stem], waveform, length, sample_rate)
        total = np.sum(list(stems.values()), axis=0)
        present = {self.config.sources[stem] for stem in files}
        given = Given(
            mixture=total if mixture is None else mixture,
            stems=stems,
            absent=tuple(name for name in self.names if name not in present),
            silent=tuple(name for name in self.names if self._is_silent(stems[name])),
        )
        self._check_sum(next(iter(files.values())).parent, given, total)
        return given

    def _check_missing(self, recording: Path, missing: list[str], some: bool) -> None:
        if not some:
            example = self.config.pattern.format(folder="...", name="...", stem=missing[0])
            raise Skip(f"{recording}: not one stem found (looked for {example}): correct pattern")
        if missing and self.config.absent == "skip":
            raise Skip(
                f"{recording}: no stem {', '.join(missing)}: complete it, or set absent to silent "
                "where a corpus leaves silent stems out"
            )

    def _fit(self, path: Path, stem: Waveform, length: int, sample_rate: int) -> Waveform:
        """Bring a stem whose length is off by rounding to that of its mixture."""
        if abs(len(stem) - length) > self.config.tolerance * sample_rate:
            word = "shorter" if len(stem) < length else "longer"
            raise Skip(
                f"{path}: {word} than its mixture ({len(stem) / sample_rate:.3f} s for "
                f"{length / sample_rate:.3f} s): replace it, or raise tolerance"
            )
        return np.pad(stem[:length], (0, max(0, length - len(stem))))

    def _is_silent(self, stem: Waveform) -> bool:
        return bool(np.abs(stem).max(initial=0.0) < 10 ** (self.config.silence / 20))

    def _check_sum(self, place: Path, given: Given, total: Waveform) -> None:
        if len(given.silent) == len(self.names) and not self._is_silent(given.mixture):
            raise Skip(f"{place}: all stems are silent, but their mixture is not: wrong files?")
        if self.config.residual is None or self._is_silent(given.mixture):
            return
        rest = np.square(given.mixture - total, dtype=np.float64).sum()
        level = 10 * np.log10(rest / np.square(given.mixture, dtype=np.float64).sum() + 1e-20)
        if level > self.config.residual:
            raise Skip(
                f"{place}: what the stems do not sum up to is at {level:.1f} dB of the mixture, "
                f"allowed are {self.config.residual:.1f}: stems of another mixture?"
            )
