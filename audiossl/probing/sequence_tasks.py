"""Tasks on frames and clips that heads are trained for: from labels to numbers, and to scores.

Every score that is a ratio of sums over cuts (error rates, F1, accuracy, DER) keeps both sums of
each cut, so that it can be bootstrapped; others (mean AP, PSDS) are of all cuts at once.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from audiossl.configs import Nonnegative, Share
from audiossl.data.text_units import normalized
from audiossl.errors import UserError
from audiossl.losses.labels import Objective, Outputs
from audiossl.probing.detection import event_counts, events_of, segment_errors
from audiossl.probing.diarization import diarization_errors
from audiossl.probing.metrics import METRICS, plain
from audiossl.probing.psds import PSDS1, PSDS2, Scored, psds
from audiossl.probing.segments import Segment, parse_segments
from audiossl.probing.transcripts import (
    character_error_rate,
    slot_type_f1,
    slot_value_error_rate,
    unit_error_rate,
    word_error_rate,
)

Target = Literal["classes", "tags", "characters", "phones", "slots", "frames", "events", "speakers"]
OBJECTIVES: dict[str, Objective] = {"characters": "text", "phones": "text", "slots": "text"}
"""Objective of each target whose name is not its own."""
METRICS_OF: dict[str, tuple[str, ...]] = {
    "classes": ("accuracy",),
    "tags": ("map",),
    "characters": ("wer", "cer"),
    "phones": ("per",),
    "slots": ("slot_f1", "slot_cer"),
    "frames": ("frame_accuracy",),
    "events": ("event_f1", "segment_f1", "segment_error", "psds1", "psds2"),
    "speakers": ("der",),
}
"""Figures of each target, the one that settings are chosen by first."""
ERRORS = ("wer", "cer", "per", "slot_cer", "segment_error", "der")
"""Figures of which less is better."""
_SLOT = re.compile(r"[BE]-\S+")


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How probabilities of frames become events or turns."""

    threshold: Share = 0.5
    """Probability above which a frame is active."""
    median: Nonnegative = 0.0
    """Duration of a median filter over decisions, in seconds; 0 for none."""


@dataclass(frozen=True)
class Targets:
    """The numbers that labels stand for."""

    target: Target
    classes: tuple[tuple[str, ...], ...]
    """Names by number, of each kind; one tuple but for "classes"."""
    separator: str = "|"
    """Separator of tags."""

    @property
    def outputs(self) -> Outputs:
        """What a head must score."""
        objective: Any = OBJECTIVES.get(self.target, self.target)
        blank = int(objective == "text")
        return Outputs(objective, tuple(len(names) + blank for names in self.classes))

    def encode(self, label: Sequence[str], cut: str) -> np.ndarray:
        """Number what a label says.

        Raises:
            UserError: It names a class that training cuts do not have, or no segments.
        """
        match self.target:
            case "classes":
                rows = zip(self.classes, label, strict=True)
                return np.array([_number(names, value, cut) for names, value in rows], np.int64)
            case "tags":
                tags = set(label[0].split(self.separator))
                return np.array([name in tags for name in self.classes[0]], np.float32)
            case "characters" | "phones" | "slots":
                numbers = {unit: number + 1 for number, unit in enumerate(self.classes[0])}
                units = units_of(self.target, label[0])
                return np.array([numbers[unit] for unit in units if unit in numbers], np.int64)
        return self._segments(parse_segments(label[0], cut), cut)

    def _segments(self, segments: Sequence[Segment], cut: str) -> Float[np.ndarray, "most three"]:
        names = self.classes[0]
        if self.target == "speakers":
            own = list(dict.fromkeys(segment.name for segment in segments))
            if len(own) > len(names):
                raise UserError(
                    f"cut {cut}: {len(own)} speakers, and training cuts have {len(names)} at most"
                )
            names = tuple(own)
        rows = [(s.begin, s.end, _number(names, s.name, cut)) for s in segments]
        return np.array(rows, np.float32).reshape(-1, 3)

    def decode(self, numbers: Int[np.ndarray, " symbols"]) -> str:
        """Spell symbols."""
        units = [self.classes[0][number - 1] for number in numbers]
        if self.target == "slots":
            units = [f" {unit} " if _SLOT.fullmatch(unit) else unit for unit in units]
        joined = (" " if self.target == "phones" else "").join(units)
        return " ".join(joined.split())


def targets_of(target: Target, labels: Sequence[Sequence[str]], separator: str = "|") -> Targets:
    """Find the classes of training cuts.

    Raises:
        UserError: There is nothing to tell apart.

    Example:
        >>> targets_of("phones", [["AH B"], ["B K"]]).classes
        (('AH', 'B', 'K'),)
    """
    if target == "classes":
        kinds = zip(*labels, strict=True)
        return _checked(Targets(target, tuple(tuple(sorted(set(kind))) for kind in kinds)))
    texts = [label[0] for label in labels]
    if target == "tags":
        names = {tag for text in texts for tag in text.split(separator)}
    elif target in OBJECTIVES:
        names = {unit for text in texts for unit in units_of(target, text)}
    else:
        in_cuts = [{s.name for s in parse_segments(text, "of training")} for text in texts]
        names = set().union(*in_cuts)
        if target == "speakers":
            names = {str(number) for number in range(max(map(len, in_cuts)))}
    return _checked(Targets(target, (tuple(sorted(names)),), separator))


def _checked(targets: Targets) -> Targets:
    least = 2 if targets.target in ("classes", "frames") else 1
    for number, names in enumerate(targets.classes):
        if len(names) < least:
            raise UserError(
                f"labels of training cuts have {len(names)} classes"
                f"{f' of kind {number + 1}' if len(targets.classes) > 1 else ''} "
                f"({', '.join(names)}): nothing to tell apart"
            )
    return targets


def units_of(target: Target, text: str) -> list[str]:
    """Split a text into what CTC spells it with.

    Example:
        >>> units_of("slots", "play B-song Yes E-song")
        ['p', 'l', 'a', 'y', 'B-song', 'y', 'e', 's', 'E-song']
    """
    if target == "phones":
        return text.split()
    if target == "characters":
        return list(normalized(text))
    units: list[str] = []
    for piece in re.split(r"\s*([BE]-\S+)\s*", text):
        units += [piece] if _SLOT.fullmatch(piece) else list(normalized(piece))
    return units


def _number(names: Sequence[str], value: str, cut: str) -> int:
    if value not in names:
        raise UserError(
            f"cut {cut}: {value!r} is no class of training cuts ({', '.join(names[:5])}"
            f"{', ...' if len(names) > 5 else ''}): leave such cuts out, or train on some"
        )
    return names.index(value)


@dataclass(frozen=True)
class Answers:
    """What a head says of cuts, and what is true."""

    targets: Targets
    labels: Sequence[Sequence[str]]
    values: Sequence[np.ndarray]
    """Output of `losses.labels.probabilities` for each cut."""
    period: float = 1.0
    """Seconds of a frame."""
    start: float = 0.0
    """Seconds at the beginning of the first frame."""
    names: Sequence[str] = ()
    """Names of cuts, for messages."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)

    def name(self, number: int) -> str:
        """Name a cut."""
        return self.names[number] if self.names else str(number)

    def turns(self, number: int) -> list[Segment]:
        """Find events or turns of a cut."""
        decoding = self.decoding
        return events_of(
            self.values[number], self.period, self.targets.classes[0],
            threshold=decoding.threshold, median=decoding.median, start=self.start,
        )  # fmt: skip


Sums = dict[str, Float[np.ndarray, "cuts two"]]
"""By figure: numerator and denominator of each cut."""


def sums_of(answers: Answers) -> Sums:
    """Score cuts one by one.

    Example:
        >>> targets = targets_of("phones", [["AH B"]])
        >>> sums_of(Answers(targets, [["AH B"]], [np.array([1, 1])]))["per"].tolist()
        [[1.0, 2.0]]
    """
    return {
        name: np.array(rows, np.float64).reshape(-1, 2)
        for name, rows in _SUMS[answers.targets.target](answers).items()
    }


def figures_of(answers: Answers, sums: Sums | None = None) -> dict[str, float]:
    """Compute all figures of a target, the one that settings are chosen by first."""
    sums = sums_of(answers) if sums is None else sums
    figures = {name: ratio(rows) for name, rows in sums.items()}
    if answers.targets.target == "tags":
        true = np.stack([answers.targets.encode(label, "") for label in answers.labels])
        scores = np.stack(answers.values).astype(np.float64)
        figures["map"] = plain(METRICS["pr_auc"], true.astype(bool), scores)
    if answers.targets.target == "events":
        names = answers.targets.classes[0]
        recordings = [
            Scored(
                parse_segments(label[0], answers.name(n)),
                answers.values[n],
                answers.period,
                answers.start,
            )
            for n, label in enumerate(answers.labels)
        ]
        figures["psds1"] = psds(recordings, names, PSDS1)
        figures["psds2"] = psds(recordings, names, PSDS2)
    return figures


def deciding_figure(answers: Answers) -> float:
    """Compute the figure that settings are chosen by, and no other: PSDS takes much longer.

    Example:
        >>> targets = targets_of("phones", [["AH B"]])
        >>> deciding_figure(Answers(targets, [["AH B"]], [np.array([1, 1])]))
        0.5
    """
    name, sums = METRICS_OF[answers.targets.target][0], sums_of(answers)
    return ratio(sums[name]) if name in sums else figures_of(answers, sums)[name]


def ratio(rows: Float[np.ndarray, "cuts two"]) -> float:
    """Divide sums over cuts; NaN where there is nothing to divide by."""
    above, below = rows.sum(axis=0)
    return float(above / below) if below else float("nan")


def _classes(answers: Answers) -> Mapping[str, list[tuple[float, float]]]:
    ends = np.cumsum([len(names) for names in answers.targets.classes])[:-1]
    rows = []
    for number, label in enumerate(answers.labels):
        true = answers.targets.encode(label, answers.name(number))
        best = [part.argmax() for part in np.split(answers.values[number], ends)]
        rows.append((float(np.array_equal(best, true)), 1.0))
    return {"accuracy": rows}


def _texts(answers: Answers) -> Mapping[str, list[tuple[float, float]]]:
    rates: dict[str, list[tuple[float, float]]] = {}
    compared = {
        "characters": {"wer": word_error_rate, "cer": character_error_rate},
        "phones": {"per": unit_error_rate},
        "slots": {"slot_f1": slot_type_f1, "slot_cer": slot_value_error_rate},
    }[answers.targets.target]
    for label, value in zip(answers.labels, answers.values, strict=True):
        text = answers.targets.decode(value)
        true = label[0] if answers.targets.target == "phones" else normal_text(answers, label[0])
        for name, function in compared.items():
            found = function([true], [text])
            rates.setdefault(name, []).append((float(found.errors), float(found.count)))
    return rates


def normal_text(answers: Answers, text: str) -> str:
    """Write a reference as its units spell it."""
    target = answers.targets.target
    if target == "characters":
        return normalized(text)
    units = [f" {u} " if _SLOT.fullmatch(u) else u for u in units_of(target, text)]
    return " ".join("".join(units).split())


def _frames(answers: Answers) -> Mapping[str, list[tuple[float, float]]]:
    rows = []
    for number, label in enumerate(answers.labels):
        segments = answers.targets.encode(label, answers.name(number))
        times = answers.start + (np.arange(len(answers.values[number])) + 0.5) * answers.period
        true = np.full(len(times), -1)
        for begin, end, class_ in segments[::-1]:
            true[(times >= begin) & (times < end)] = int(class_)
        right = answers.values[number].argmax(axis=1) == true
        rows.append((float(right.sum()), float((true >= 0).sum())))
    return {"frame_accuracy": rows}


def _events(answers: Answers) -> Mapping[str, list[tuple[float, float]]]:
    rows: dict[str, list[tuple[float, float]]] = {}
    for number, label in enumerate(answers.labels):
        true, found = parse_segments(label[0], answers.name(number)), answers.turns(number)
        pieces = segment_errors(true, found)
        for name, pair in (
            ("event_f1", event_counts(true, found).f1),
            ("segment_f1", pieces.counts.f1),
            ("segment_error", (pieces.errors, pieces.active)),
        ):
            rows.setdefault(name, []).append(pair)
    return rows


def _speakers(answers: Answers) -> Mapping[str, list[tuple[float, float]]]:
    rows = []
    for number, label in enumerate(answers.labels):
        true = parse_segments(label[0], answers.name(number))
        found = diarization_errors(true, answers.turns(number))
        rows.append((found.errors, found.speech))
    return {"der": rows}


_SUMS: dict[str, Callable[[Answers], Mapping[str, list[tuple[float, float]]]]] = {
    "classes": _classes,
    "tags": lambda answers: {},  # noqa: ARG005 - its figure is of all cuts at once
    "characters": _texts,
    "phones": _texts,
    "slots": _texts,
    "frames": _frames,
    "events": _events,
    "speakers": _speakers,
}
