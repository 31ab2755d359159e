"""Speech: readers, prompts, actors, with text, language and speaker where the package says so."""

import gzip
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import soundfile

from egs.debian_packages.local import g722
from egs.debian_packages.local.clips import Clip, write_flac

LONGEST = 30
"""Seconds: the few prompts that are longer (instructions that nobody hears out) are left out."""
VOICES = {
    "en_US_f_Allison": ("en", "allison_smith"),
    "es_MX_f_Allison": ("es", "allison_smith"),
    "fr_CA_f_June": ("fr", "june_wallack"),
    "it_IT_m_Carlo": ("it", "carlo"),
    "ru_RU_f_IvrvoiceRU": ("ru", "ivrvoice"),
    "it_IT_f_Menardi": ("it", "menardi"),
    "fr": ("fr", "armelle"),
    "es": ("es", "es_co"),
}
"""Language and speaker by the folder of a voice; that of es says that it is Allison, too."""
_NO_SPEECH = re.compile(
    r"silence/|beep|(as|des)cending-2tone|confbridge-(join|leave)$|spy-zap|tt-monkeys"
)
_Pair = tuple[Path, Path]


def reader(folder: Path) -> Iterator[Clip]:
    """Find the sentences of festvox-ru: one Russian reader, with text and phones."""
    root = folder / "unpacked/festvox-ru/usr/share/festival/voices/russian/msu_ru_nsh_clunits"
    sentences = root / "etc" / "txt.done.data"
    if not sentences.exists():
        return
    texts = dict(re.findall(r'\( (\w+) "(.*)" \)', sentences.read_text("utf-8")))
    for path in sorted((root / "wav").glob("*.wav")):
        text = texts.get(path.stem, "")
        keys = (f"reader:{path.stem}", *_text_key(text))
        labels = {"speaker": "nsh", "language": "ru", "text": text}
        aligned = root / "lab" / f"{path.stem}.lab"
        if aligned.exists():
            labels["phones"] = phones(aligned.read_text("utf-8"))
        yield _clip(folder, path, "festvox-ru", keys, labels)


def phones(text: str) -> str:
    """Turn an alignment into a label of timed segments, `0.51-0.60 e|0.60-0.76 gg`.

    Lines of Festival's format are "0.512 125 pau": where a phone ends, a color, its name. Silence
    ("pau") stays in, for those who want it.
    """
    begin, segments = 0.0, []
    for line in text.partition("#\n")[2].splitlines():
        end, _, name = line.split()
        if float(end) > begin:
            segments.append(f"{begin:g}-{float(end):g} {name}")
        begin = float(end)
    return "|".join(segments)


def actors(folder: Path) -> Iterator[Clip]:
    """Find the dialogue of Fish Fillets, Czech and Dutch: two fish are speakers, others are not."""
    for language in ("cs", "nl"):
        package = f"fillets-ng-data-{language}"
        for path in sorted((folder / "unpacked" / package).rglob("*.ogg")):
            role = re.search(r"-([mv])-", path.stem)
            labels = {"language": language}
            if role:
                labels["speaker"] = f"{'small' if role[1] == 'm' else 'big'}_fish_{language}"
            # The translations of a line have its name, whatever the level.
            yield _clip(folder, path, package, (f"line:{path.stem}",), labels)


def syllables(folder: Path) -> Iterator[Clip]:
    """Find the Mandarin syllables of gcin-voice, spoken by two."""
    for path in sorted((folder / "unpacked" / "gcin-voice").rglob("*.ogg")):
        labels = {"speaker": f"gcin_{path.stem}", "language": "zh", "text": path.parent.name}
        yield _clip(folder, path, "gcin-voice", (f"syllable:{path.parent.name}",), labels)


def characters(folder: Path) -> Iterator[Clip]:
    """Find the taunts of Hedgewars; who lent a voice to how many characters is not known."""
    for path in sorted((folder / "unpacked" / "hedgewars-data").rglob("*.ogg")):
        if path.parent.parent.name == "voices" and not path.is_symlink():
            labels = {"character": path.parent.name}
            yield _clip(folder, path, "hedgewars-data", (f"taunt:{path.stem.lower()}",), labels)


def prompts(folder: Path, jobs: int) -> Iterator[Clip]:
    """Find the prompts of Asterisk: the same names in many languages; decode what is coded."""
    coded: list[_Pair] = []
    clips = []
    for root in sorted((folder / "unpacked").glob("asterisk-*/usr/share/asterisk/sounds")):
        package = root.parents[3].name
        texts = _transcripts(folder / "unpacked" / package.removesuffix("-g722"))
        for path in sorted(root.rglob("*")):
            voice, _, name = path.relative_to(root).with_suffix("").as_posix().partition("/")
            if path.suffix not in (".g722", ".gsm", ".wav") or not _usable(path, name, texts):
                continue
            place = path
            if path.suffix != ".wav":
                place = folder / "decoded" / "speech" / package / f"{name}.flac"
                coded.append((path, place))
            text = texts.get(name, "")
            language, speaker = VOICES[voice]
            labels = {"language": language, "speaker": speaker, "text": text}
            keys = (f"prompt:{name}", *_text_key(text))
            clips.append(_clip(folder, place, package, keys, labels))
    _decode(coded, jobs)
    yield from clips


def _usable(path: Path, name: str, texts: dict[str, str]) -> bool:
    if path.is_symlink() or _NO_SPEECH.match(name) or texts.get(name, "").startswith(("[", "<")):
        return False
    rate = {".g722": 8000, ".gsm": 1650, ".wav": 16000}[path.suffix]
    return 0 < path.stat().st_size <= LONGEST * rate


def _transcripts(package: Path) -> dict[str, str]:
    """Read the lists `core-sounds-XX.txt.gz`: name of a prompt to what is said."""
    texts: dict[str, str] = {}
    for path in package.glob("usr/share/doc/*/core-sounds-*.txt.gz"):
        for line in gzip.decompress(path.read_bytes()).decode("utf-8", "replace").splitlines():
            name, colon, text = line.partition(": ")
            if colon and not name.startswith(";"):
                texts[name.strip()] = text.strip()
    return texts


def _decode(pairs: Sequence[_Pair], jobs: int) -> None:
    """Decode what has not been decoded yet, files of similar length together."""
    left = [pair for pair in pairs if not pair[1].exists()]
    left.sort(key=lambda pair: pair[0].stat().st_size)
    pieces = [left[first : first + 256] for first in range(0, len(left), 256)]
    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(_decode_some, reversed(pieces)))


def _decode_some(pairs: Sequence[_Pair]) -> None:
    wide = [pair for pair in pairs if pair[0].suffix == ".g722"]
    for number, samples in g722.decode([source.read_bytes() for source, _ in wide]):
        write_flac(wide[number][1], samples / 32768, g722.SAMPLE_RATE)
    for source, place in pairs:
        if source.suffix == ".gsm":
            samples, _ = soundfile.read(
                source, samplerate=8000, channels=1, format="RAW", subtype="GSM610"
            )
            write_flac(place, samples, 8000)


def _text_key(text: str) -> tuple[str, ...]:
    """Make sentences that differ in punctuation or case one; an empty one is none."""
    words = re.findall(r"\w+", text.lower())
    return (f"text:{' '.join(words)}",) if words else ()


def _clip(
    folder: Path, path: Path, package: str, keys: tuple[str, ...], labels: dict[str, str]
) -> Clip:
    stratum = f"speech:{labels.get('speaker') or package}"
    return Clip(path.relative_to(folder), package, "speech", keys, stratum, labels)
