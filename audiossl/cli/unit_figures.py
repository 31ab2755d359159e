"""What `audiossl tokenize` says of units: how many, how evenly used, and how they follow phones."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from audiossl.data.alignments import AlignedWord
from audiossl.data.lines import text_lines, words_of
from audiossl.errors import UserError
from audiossl.pretrained.units import Units, without_repeats
from audiossl.probing.unit_quality import abx_error, bit_rate, unit_quality
from audiossl.quantization.quantizer import CodebookQuantizer
from audiossl.quantization.usage import code_usage, count_codes

_ITEMS_OF_A_PHONE = 20
"""Items of a phone (and speaker) that ABX compares, the first ones."""


def figures(
    units: Units,
    quantizer: CodebookQuantizer,
    phones: Mapping[str, list[AlignedWord]],
    speakers: Mapping[str, str] | None,
) -> list[tuple[str, str]]:
    """List figures as rows of a table.

    Args:
        units: Of the files.
        quantizer: Whose units they are.
        phones: Of recordings, by the name of the file without its suffix; empty: none are known.
        speakers: Of recordings, likewise.

    Raises:
        UserError: Phones are given, and none is of a file.
    """
    codes = torch.cat(units.codes)
    seconds = len(codes) / units.frame_rate
    usage = code_usage(count_codes(codes, quantizer.codebook_size))
    merged = [without_repeats(code)[0] for code in units.codes]
    num_merged = sum(map(len, merged))
    rows = [
        ("units", f"{len(codes)} in {seconds:.1f} s, {num_merged} without repeats"),
        ("bits a second", f"{bit_rate([c.numpy() for c in units.codes], seconds):.1f}, "
         f"{bit_rate([c.numpy() for c in merged], seconds):.1f} without repeats"),
        ("used entries", f"perplexity {float(usage.code_perplexity.mean()):.1f} of "
         f"{quantizer.codebook_size}, {int(usage.num_dead.sum())} never"),
    ]  # fmt: skip
    return [*rows, *_against_phones(units, quantizer, phones, speakers)] if phones else rows


def read_speakers(path: Path) -> dict[str, str]:
    """Read Kaldi's utt2spk: a recording and its speaker a line.

    Raises:
        UserError: A line is of another form.
    """
    speakers = {}
    for where, line in text_lines(path):
        fields = words_of(line)
        if len(fields) != 2:
            raise UserError(f"{where}: expected 'recording speaker', found {line!r}")
        speakers[fields[0]] = fields[1]
    return speakers


def _against_phones(
    units: Units,
    quantizer: CodebookQuantizer,
    phones: Mapping[str, list[AlignedWord]],
    speakers: Mapping[str, str] | None,
) -> Iterator[tuple[str, str]]:
    labeled = list(_labeled(units, phones))
    if not labeled:
        known, wanted = next(iter(phones), "nothing"), units.paths[0].stem
        raise UserError(
            f"no frame has a phone: the alignments name recordings such as {known!r}, and files "
            f"are called {wanted!r}"
        )
    names = sorted({name for _, _, name in labeled})
    number = {name: index for index, name in enumerate(names)}
    for book in range(quantizer.num_codebooks):
        counts = np.zeros((quantizer.codebook_size, len(names)), np.int64)
        for _, codes, name in labeled:
            np.add.at(counts[:, number[name]], codes[:, book], 1)
        quality = unit_quality(counts)
        of = f" of codebook {book + 1}" if quantizer.num_codebooks > 1 else ""
        yield (
            f"against {len(names)} phones{of}",
            f"PNMI {quality.pnmi:.3f}, phone purity {quality.phone_purity:.3f}, cluster purity "
            f"{quality.cluster_purity:.3f}, over {quality.num_frames} frames",
        )
    yield from _abx(labeled, quantizer, speakers)


Labeled = tuple[str, np.ndarray, str]
"""Recording, codes of the frames in a phone, and the phone."""


def _labeled(units: Units, phones: Mapping[str, list[AlignedWord]]) -> Iterator[Labeled]:
    """Yield frames whose centers lie in a phone, phone by phone."""
    for path, codes in zip(units.paths, units.codes, strict=True):
        values = codes.numpy().astype(np.int64)
        centers: Float[np.ndarray, " frames"] = (np.arange(len(values)) + 0.5) / units.frame_rate
        for phone in phones.get(path.stem, ()):
            inside = (centers >= phone.start) & (centers < phone.end)
            if inside.any():
                yield path.stem, values[inside], phone.word


def _abx(
    labeled: list[Labeled], quantizer: CodebookQuantizer, speakers: Mapping[str, str] | None
) -> Iterator[tuple[str, str]]:
    taken: dict[tuple[str, str], int] = {}
    items, names, voices = [], [], []
    for recording, codes, name in labeled:
        voice = (speakers or {}).get(recording, recording)
        key = (name, voice if speakers else "")
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= _ITEMS_OF_A_PHONE:
            items.append(quantizer.decode(torch.from_numpy(codes)).numpy())
            names.append(name)
            voices.append(voice)
    errors = (
        {
            ", one speaker": abx_error(items, names, voices, "within"),
            ", X of another speaker": abx_error(items, names, voices, "across"),
        }
        if speakers
        else {"": abx_error(items, names)}
    )
    for whose, error in errors.items():
        yield f"ABX error{whose}", f"{error:.3f} over {len(items)} phones (0.5 by chance)"
