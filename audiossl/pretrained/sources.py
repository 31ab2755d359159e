"""How encoders are named: a folder of this package, or `kind:place`, and `#layer` behind either.

What a folder does not say itself stands between them (`hf:<folder>?normalize=false#9`), and
`org/name@revision` is a place, too, for kinds that the Hugging Face hub has.

One table for all uses: what embeds files, fills tables of probes, or is the teacher of a student is
named alike and is the same network.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audiossl.errors import UserError, did_you_mean

OWN = "audiossl"
"""Kind of the encoders that this package wrote; it may be left out before a folder."""


@dataclass(frozen=True)
class Scheme:
    """A kind of encoder, and where it is loaded."""

    load: str
    """Module and function, as in "module:function"; it takes what follows the colon."""
    extra: str = ""
    """Group of optional dependencies that it needs; empty: none."""
    truncates: bool = False
    """Whether the function takes a layer, too, and leaves out the layers above it."""
    keeps_hash: bool = False
    """Whether what follows a "#" is the kind's own (a seed, a modality) and not a layer."""
    hub: bool = False
    """Whether `org/name` on the Hugging Face hub is a place, too."""
    options: tuple[str, ...] = ()
    """Names of what may be said behind a "?", as in "?normalize=false": arguments of `load`."""


SCHEMES: dict[str, Scheme] = {
    OWN: Scheme("audiossl.pretrained.own:load"),
    "run": Scheme("audiossl.training.unfinished:load"),
    "random": Scheme("audiossl.pretrained.own:load_random", keeps_hash=True),
    "shuffled": Scheme("audiossl.pretrained.baselines:load_shuffled", keeps_hash=True),
    "code_matching": Scheme("audiossl.pretrained.code_matching:load", keeps_hash=True),
    "spear": Scheme("audiossl.pretrained.spear:load", hub=True),
    "hf": Scheme(
        "audiossl.teachers.huggingface:load",
        extra="teachers",
        truncates=True,
        hub=True,
        options=("normalize",),
    ),
    "torchaudio": Scheme("audiossl.teachers.torchaudio_bundle:load", truncates=True),
    "fairseq": Scheme(
        "audiossl.teachers.fairseq:load", extra="teachers", truncates=True, options=("normalize",)
    ),
    "dasheng": Scheme("audiossl.teachers.dasheng:load", truncates=True, hub=True),
    "beats": Scheme("audiossl.teachers.beats:load", truncates=True),
    "eat": Scheme("audiossl.teachers.eat:load", truncates=True, hub=True),
    "m2d": Scheme("audiossl.teachers.m2d:load", truncates=True),
    "muq": Scheme("audiossl.teachers.muq:load", extra="teachers", truncates=True, hub=True),
    "onnx": Scheme(
        "audiossl.teachers.onnx_graph:load", extra="onnx", options=("sample_rate", "frame_rate")
    ),
    "ge2e": Scheme("audiossl.teachers.ge2e:load"),
    "aisfx": Scheme("audiossl.teachers.aisfx:load"),
    "musicnn": Scheme("audiossl.teachers.musicnn:load"),
    "crepe": Scheme("audiossl.teachers.crepe:load"),
    "basic_pitch": Scheme("audiossl.teachers.basic_pitch:load"),
    "silero": Scheme("audiossl.teachers.silero:load"),
    "spleeter": Scheme("audiossl.teachers.spleeter:load", options=("depth",)),
    "pocketsphinx": Scheme("audiossl.teachers.pocketsphinx:load"),
    "log_mel": Scheme("audiossl.teachers.spectral:load_log_mel"),
    "mfcc": Scheme("audiossl.teachers.spectral:load_mfcc"),
    "log_mel_statistics": Scheme("audiossl.pretrained.baselines:load_log_mel_statistics"),
    "python": Scheme("audiossl.pretrained.python:load"),
}
"""Every kind, in the order in which messages list them."""
SHIPPED = {name: Path(__file__).parent / "weights" / name for name in ("small", "music")}
"""Encoders that come with this package, as `audiossl:small`; each folder has its model card."""
SUFFIXES = {".onnx": "onnx"}
"""Kind of a file by its suffix, which may stand without the kind."""
ALIASES = {"log-mel": "log_mel_statistics"}
"""Deprecated spellings. "log-mel:" was never "log_mel:": it is the baseline of tables."""


@dataclass(frozen=True)
class Source:
    """One encoder by its name."""

    kind: str
    """Key of `SCHEMES`."""
    place: str
    """Text after the colon: a folder, a file, a number of bands, ..."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Values of the options behind a "?", by name."""
    layer: int | None = None
    """Layer whose output is wanted, counted from 1; None: the encoder's own output."""


def parse_source(source: str | Path) -> Source:
    """Read the name of one encoder.

    >>> parse_source("hf:models/wavlm-large#21")
    Source(kind='hf', place='models/wavlm-large', options={}, layer=21)
    >>> parse_source("exp/pretrain").kind
    'audiossl'
    >>> parse_source("hf:models/hubert?normalize=false").options
    {'normalize': 'false'}
    >>> parse_source("audiossl:small").place == str(SHIPPED["small"])
    True

    Raises:
        UserError: The kind is unknown, or an option is none of the kind's.
    """
    text = str(source)
    kind, separator, place = text.partition(":")
    if not separator or Path(text).exists():
        kind, place = SUFFIXES.get(Path(text.partition("?")[0].partition("#")[0]).suffix, OWN), text
    kind = ALIASES.get(kind, kind)
    if kind not in SCHEMES:
        raise UserError(
            f"{source}: unknown kind of encoder {kind!r}{did_you_mean(kind, SCHEMES)} "
            f"(known: {', '.join(f'{known}:' for known in SCHEMES)}, or a folder of this package)"
        )
    if separator and kind == OWN and place.partition("#")[0] in SHIPPED:
        name, mark, rest = place.partition("#")
        place = f"{SHIPPED[name]}{mark}{rest}"
    before, mark, number = place.rpartition("#")
    layer = None
    if mark and not SCHEMES[kind].keeps_hash and not Path(place).exists():
        if not number.isdecimal() or number == "0":
            raise UserError(f"{source}: {number!r} is no layer: give a number from 1 after the #")
        place, layer = before, int(number)
    return Source(kind, *_without_options(kind, place), layer)


def _without_options(kind: str, place: str) -> tuple[str, dict[str, str]]:
    """Take what follows a "?" apart, for kinds that have options."""
    known = SCHEMES[kind].options
    before, mark, words = place.rpartition("?")
    if not mark or not known or Path(place).exists():
        return place, {}
    options = dict(word.partition("=")[::2] for word in words.split("&"))
    for name in options:
        if name not in known:
            raise UserError(
                f"{kind}:{place}: {name!r} is no option of {kind}:{did_you_mean(name, known)} "
                f"(known: {', '.join(f'?{one}=' for one in known)})"
            )
    return before, options


def split_sources(source: str | Path) -> list[str]:
    """Take the members of an ensemble apart.

    >>> split_sources("aisfx:+log_mel:40")
    ['aisfx:', 'log_mel:40']
    """
    if Path(source).exists() or str(source).startswith("shuffled:"):
        return [str(source)]
    kinds = "|".join(map(re.escape, (*SCHEMES, *ALIASES)))
    return re.split(rf"\+(?=(?:{kinds}):)", str(source))


def paths_of(source: str | Path) -> list[Path]:
    """List the files and folders that a name mentions: inputs, which may change.

    The folder of an own encoder is listed even where it is missing, so that a stage can say so.
    """
    paths = []
    for part in split_sources(source):
        parsed = parse_source(part)
        if parsed.kind == "shuffled":
            paths += paths_of(parsed.place.rpartition("#")[0] or parsed.place)
            continue
        place = parsed.place.rpartition("=")[2]
        path = Path(place if Path(place).exists() else place.partition("#")[0])
        if path != Path() and (path.exists() or parsed.kind in (OWN, "random", "run")):
            paths.append(path)
    return paths
