"""An encoder as a graph of ONNX, run by onnxruntime on the processor.

Conventions. The graph takes waveforms (batch, samples) and, if it has a second input, their lengths
in samples; of its outputs the first of three axes is frames, the first of one axis how many of them
are valid, the first of two axes a clip vector. Each row runs alone, so that padding cannot reach
it. Sample rate and frame rate are read from the graph's metadata (`sample_rate`, `frame_rate`), or
said behind the name; a frame rate that nobody says is counted on silence. Graphs that `audiossl
export` wrote also say how clips were presented in pretraining.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float, Int
from torch import Tensor

from audiossl.atomic_files import reading
from audiossl.audio.presentation import Presentation
from audiossl.configs import from_plain
from audiossl.digests import digest_of_bytes
from audiossl.errors import UserError
from audiossl.nn.frames import Frames
from audiossl.teachers.teacher import FrozenTeacher

KNOWN = ("sample_rate", "frame_rate", "layer_convention", "presentation")
FILE = "model.onnx"
"""Name of the graph in a folder of `audiossl export`."""


def load(place: str, sample_rate: str = "", frame_rate: str = "") -> "OnnxEncoder":
    """Load a graph.

    Args:
        place: The file, or a folder that `audiossl export --to onnx` wrote.
        sample_rate: Hz; empty: what the metadata says, or 16000.
        frame_rate: Hz; empty: what the metadata says, or what is counted.

    Raises:
        UserError: The file is missing, no graph of ONNX, or takes and gives something else.
    """
    path = Path(place) / FILE if Path(place).is_dir() else Path(place)
    if not path.is_file():
        raise UserError(f"{path}: no such file of ONNX")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own, which have no common base
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{path}: onnxruntime cannot load it ({reason})") from error
    facts = {k: v for k, v in session.get_modelmeta().custom_metadata_map.items() if k in KNOWN}
    said = {"sample_rate": sample_rate, "frame_rate": frame_rate}
    facts.update({name: word for name, word in said.items() if word})
    return OnnxEncoder(session, facts, path)


class OnnxEncoder(FrozenTeacher):
    """A graph of ONNX."""

    def __init__(self, session: Any, facts: dict[str, str], path: Path) -> None:
        super().__init__()
        self.session, self.facts, self.path = session, facts, path
        self.names = [one.name for one in session.get_inputs()]
        self.sample_rate = int(_number(facts, "sample_rate", path) or 16000)
        self.presentation = _presentation(facts, self.sample_rate, path)
        self.places = _places(session, path)
        frames, lengths, clip = self._run(np.zeros(2 * self.sample_rate, np.float32))
        self.dim = frames.shape[1]
        self.no_frames, self.no_clip = frames[:0], None if clip is None else 0 * clip
        rate = _number(facts, "frame_rate", path)
        if rate is None:
            _, more, _ = self._run(np.zeros(12 * self.sample_rate, np.float32))
            rate = (more - lengths) / 10.0
        self.frame_rate = rate
        digest = digest_of_bytes([path.read_bytes()])
        where = facts.get("layer_convention", "the graph's output")
        self.convention = f"onnx {digest}: {where}"
        self.eval()

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxEncoder":
        """Share the session, which is never changed."""
        return OnnxEncoder(self.session, self.facts, self.path)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> Frames:
        """Compute the frames of a batch of waveforms at `sample_rate`."""
        rows = [
            self._run(row[:length].detach().cpu().float().numpy())
            for row, length in zip(waveforms, lengths.tolist(), strict=True)
        ]
        device = waveforms.device
        vectors = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(frames) for frames, _, _ in rows], batch_first=True
        )
        clips = [torch.from_numpy(clip) for _, _, clip in rows if clip is not None]
        return Frames(
            vectors.to(device),
            torch.tensor([count for _, count, _ in rows], device=device),
            self.frame_rate,
            pooled=torch.stack(clips).to(device) if clips else None,
        )

    def _run(
        self, waveform: Float[np.ndarray, " samples"]
    ) -> tuple[Float[np.ndarray, "frames dim"], int, Float[np.ndarray, " clip_dim"] | None]:
        """Encode one waveform: its valid frames, their number, its clip vector."""
        given = {self.names[0]: waveform[None]}
        if len(self.names) > 1:
            # Graphs that know lengths may want a second at least.
            missing = max(0, self.sample_rate - len(waveform))
            given = {
                self.names[0]: np.pad(waveform, (0, missing))[None],
                self.names[1]: np.array([len(waveform)], np.int64),
            }
        try:
            outputs = self.session.run(None, given)
        except Exception:  # onnxruntime's own, which have no common base
            # Convolutions fail on what is shorter than they are.
            if len(self.names) > 1 or len(waveform) > self.sample_rate // 5:
                raise
            return self.no_frames, 0, self.no_clip
        at_frames, at_counts, at_clips = self.places
        frames = outputs[at_frames][0].astype(np.float32)
        count = len(frames) if at_counts is None else int(outputs[at_counts][0])
        return frames[:count], count, None if at_clips is None else outputs[at_clips][0]


def _places(session: Any, path: Path) -> tuple[int, int | None, int | None]:
    """Find frames, their numbers and clip vectors among the outputs."""
    inputs, axes = session.get_inputs(), [len(one.shape) for one in session.get_outputs()]
    if not inputs or len(inputs) > 2 or len(inputs[0].shape) != 2 or 3 not in axes:
        raise UserError(
            f"{path}: a graph with inputs {', '.join(one.name for one in inputs)} and outputs of "
            f"{', '.join(map(str, axes))} axes: expected waveforms (batch, samples), perhaps "
            "lengths, and frames (batch, frames, dim)"
        )
    return (
        axes.index(3),
        axes.index(1) if 1 in axes else None,
        axes.index(2) if 2 in axes else None,
    )


def _presentation(facts: dict[str, str], sample_rate: int, path: Path) -> Presentation:
    with reading(path, "graph with a presentation that audiossl wrote"):
        content = json.loads(facts.get("presentation", "{}"))
        return replace(from_plain(Presentation, content, str(path)), sample_rate=sample_rate)


def _number(facts: dict[str, str], name: str, path: Path) -> float | None:
    word = facts.get(name)
    if not word:
        return None
    try:
        value = float(word)
    except ValueError:
        value = 0.0
    # Networks of clip vectors alone have a frame rate of 0; samples a second are a whole number.
    of_frames = name == "frame_rate"
    right = 0 < value < 1e7 and (of_frames or value.is_integer())
    if not (right or (of_frames and word in ("0", "0.0"))):
        kind = "number" if of_frames else "whole number"
        raise UserError(f"{path}: {name} {word!r}: expected a {kind} of Hz above 0")
    return value
