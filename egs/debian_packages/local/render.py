"""Scores to stems: each group of instruments rendered alone, reverb and chorus off.

FluidSynth adds voices without compression, so that stems rendered apart sum to the mixture.
"""

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

from egs.debian_packages.local.midi import Score, groups_of, only_group, write_score

RATE = 16_000
"""Of the stems, in Hz. They are rendered at 44.1 kHz: the synthesizer's own resampling aliases."""
LOUDNESS = 0.1
"""Root mean square of a whole mixture (-20 dBFS), unless its peak would pass FULL."""
FULL = 0.9
SECONDS_ALLOWED = 600


class Synthesizer:
    """FluidSynth, installed or unpacked beside the corpus, with a sound font."""

    def __init__(self, folder: Path) -> None:
        """Find program, libraries and sound font.

        Args:
            folder: Of the corpus, with `synthesizer` and `unpacked` in it.

        Raises:
            FileNotFoundError: One of them is missing.
        """
        own = folder / "synthesizer" / "fluidsynth" / "usr" / "bin" / "fluidsynth"
        program = shutil.which("fluidsynth") or (str(own) if own.exists() else None)
        font = folder / "unpacked" / "fluid-soundfont-gm" / "usr/share/sounds/sf2/FluidR3_GM.sf2"
        if program is None or not font.exists():
            raise FileNotFoundError(f"no fluidsynth, or no {font}: local/fetch.sh gets both")
        paths = [*map(str, _libraries(folder / "synthesizer")), os.environ.get("LD_LIBRARY_PATH")]
        self.environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, paths))}
        self.command = [
            *(program, "--no-shell", "--no-midi-in", "--quiet", "--reverb=0", "--chorus=0"),
            *("--gain=0.3", "--sample-rate=44100", "-o", "synth.dynamic-sample-loading=1"),
            *("-o", "synth.polyphony=4096", "-O", "float", "-T", "wav"),
        ]
        self.font = str(font)

    def render(self, score: Score) -> np.ndarray:
        """Render a score as mono: (samples,) at RATE.

        Raises:
            RuntimeError: The synthesizer failed; with what it said.
        """
        with tempfile.TemporaryDirectory() as folder:
            midi, wave = Path(folder, "score.mid"), Path(folder, "score.wav")
            midi.write_bytes(write_score(score))
            done = subprocess.run(
                [*self.command, "-F", str(wave), self.font, str(midi)],
                env=self.environment, check=False, timeout=SECONDS_ALLOWED,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{self.command[0]} failed: {done.stderr.strip()[-500:]}")
            samples, rate = soundfile.read(wave, dtype="float32")
        return soxr.resample(samples.mean(1), rate, RATE)


def _libraries(folder: Path) -> list[Path]:
    """List the folders with libraries that were unpacked: some packages keep theirs one deeper."""
    places = folder.glob(f"*/usr/lib/{platform.machine()}-*")
    return [p for place in places for p in (place, *place.glob("*/")) if any(p.glob("*.so*"))]


def render_stems(synthesizer: Synthesizer, score: Score) -> dict[str, np.ndarray]:
    """Render each group of instruments; one gain for all brings their sum to LOUDNESS."""
    stems = {group: synthesizer.render(only_group(score, group)) for group in groups_of(score)}
    longest = max(map(len, stems.values()), default=0)
    stems = {name: np.pad(stem, (0, longest - len(stem))) for name, stem in stems.items()}
    if not stems:
        return {}
    mixture = np.sum(list(stems.values()), axis=0)
    peak = max(np.abs(signal).max() for signal in (mixture, *stems.values()))
    level = np.sqrt(np.mean(np.square(mixture)))
    gain = min(LOUDNESS / max(level, 1e-9), FULL / max(peak, 1e-9))
    return {name: np.float32(gain) * stem for name, stem in stems.items()}
