"""Damage that keeps the size of a file is found where it is looked for, and mended."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from audiossl.cli import main
from audiossl.cli.doctor import examine_output
from audiossl.data.corpus import Corpus
from audiossl.errors import UserError
from recipes.prepare import kaldi
from recipes.prepare.folder import Config, prepare
from recipes.stage import Resources, run
from tests.data.corpora import tone, write_folder


def stage(tmp_path, *, verify=False, **settings):
    config = Config(
        folder=tmp_path / "audio", output=tmp_path / "cuts", shard_size=2,
        resources=Resources(verify=verify), **settings,
    )  # fmt: skip
    return run(config, prepare, "recipes.prepare.folder")


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".tar", ".gz", ".columns", ".npy")
    }


@pytest.fixture
def cuts(tmp_path):
    write_folder(tmp_path / "audio", [0.5, 0.6, 0.7])
    stage(tmp_path)
    return tmp_path / "cuts"


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("shar/recording.000000.tar", 3000),
        ("shar/cuts.000001.jsonl.gz", 40),
        ("parts/cuts.000000.columns", 150),
        ("columns/recording/gain.npy", -1),
    ],
)
def test_one_flipped_bit_is_found_and_made_anew(tmp_path, cuts, name, place, capsys):
    before = content(cuts)
    damaged = bytearray(before[name])
    damaged[place] ^= 1
    (cuts / name).write_bytes(bytes(damaged))
    assert main(["doctor", str(cuts)]) == 1
    assert f"{cuts / name}" in capsys.readouterr().out
    # By names and sizes nothing has changed.
    stage(tmp_path)
    assert content(cuts) != before
    stage(tmp_path, verify=True)
    assert content(cuts) == before
    assert main(["doctor", str(cuts)]) == 0
    assert "files are as they were written" in capsys.readouterr().out


def test_a_source_that_changed_without_its_size_is_seen(tmp_path, cuts, caplog):
    record = stage(tmp_path)
    soundfile.write(tmp_path / "audio" / "001.wav", tone(0.6, 3000), 16000)
    assert stage(tmp_path)["results"] == record["results"]
    verified = stage(tmp_path, verify=True)
    assert verified["results"]["content"] != record["results"]["content"]
    np.testing.assert_allclose(Corpus(cuts).waveform(1), tone(0.6, 3000), atol=1e-4)
    # What is verified is finished: the next run, and the next verification, change nothing.
    before = {path: path.stat().st_mtime_ns for path in (cuts / "shar").iterdir()}
    assert stage(tmp_path, verify=True)["results"] == verified["results"]
    assert {path: path.stat().st_mtime_ns for path in (cuts / "shar").iterdir()} == before


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A stage that reads a corpus, as embed and pretrain do."""

    cuts: Path
    output: Path
    resources: Resources = Resources()


@pytest.mark.parametrize("damage", ["bit", "cut"])
def test_a_damaged_shard_is_refused_by_name_where_it_is_an_input(tmp_path, cuts, damage):
    path = cuts / "shar" / "recording.000001.tar"
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content if damage == "bit" else content[:9000])

    def read(config, _):
        return {"cuts": len(Corpus(config.cuts))}

    config = Reading(cuts=cuts, output=tmp_path / "one", resources=Resources(verify=True))
    with pytest.raises(UserError, match=r"input .*recording.000001.tar: .*--verify"):
        run(config, read, "reading")
    # A shard that was cut short is refused without that, too.
    if damage == "cut":
        with pytest.raises(UserError, match=r"recording.000001.tar: damaged"):
            run(Reading(cuts=cuts, output=tmp_path / "two"), read, "reading")


def test_transcripts_of_other_utterances_stop_a_kaldi_directory(tmp_path):
    write_folder(tmp_path / "audio", [0.5, 0.6])
    paths = [tmp_path / "audio" / name for name in ("000.wav", "001.wav")]
    (tmp_path / "wav.scp").write_text("".join(f"{path.stem}\t{path}\n" for path in paths))
    (tmp_path / "text").write_text("ann-000 hello\nann-001 good bye\n")
    config = kaldi.Config(folder=tmp_path, output=tmp_path / "cuts")
    with pytest.raises(UserError, match=r"2 of 4 items cannot be used.*no audio of utterance"):
        run(config, kaldi.prepare, "recipes.prepare.kaldi")


def test_what_has_no_receipts_is_no_output(tmp_path):
    with pytest.raises(UserError, match="has no receipts"):
        list(examine_output(tmp_path))


@pytest.mark.parametrize("free", [10**12, 10**5])
def test_the_forecast_of_disk_goes_by_bytes_and_refuses_no_disk_that_may_do(
    tmp_path, monkeypatch, caplog, free
):
    caplog.set_level("INFO")
    write_folder(tmp_path / "audio", [20.0, 20.0, *[0.1] * 60])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    stage(tmp_path)
    (plan,) = [line for line in caplog.messages if line.startswith("plan: ")]
    # 6 s of 46 are left: about 190 KiB of 1.4 MiB, in 30 of 31 shards.
    needed = float(plan.split("and ")[1].split(" KiB to go")[0])
    assert 150 < needed < 800
    assert ("more are needed" in caplog.text) == (free == 10**5)
