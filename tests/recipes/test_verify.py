"""Damage that keeps the size of a file is found where it is looked for, and mended."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from audiossl.cli import main
from audiossl.data.corpus import Corpus
from audiossl.errors import UserError
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


def test_what_has_no_receipts_is_no_output(tmp_path):
    with pytest.raises(UserError, match="has no receipts"):
        from audiossl.cli.doctor import examine_output

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
