import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiossl.cli import COMMANDS, main


def lines(capsys):
    captured = capsys.readouterr()
    return captured.out.splitlines(), captured.err.splitlines()


def test_the_readme_names_every_command():
    text = (Path(__file__).parents[2] / "README.md").read_text()
    listed = re.search(r"`audiossl ([a-z| ]+)`", text).group(1)
    assert set(listed.split(" | ")) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does(command, capsys):
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert "example: audiossl" in capsys.readouterr().out


def test_all_commands_are_listed(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(re.search(rf"^ +{command} ", text, re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["embd", "x.wav"], "unknown command 'embd'; did you mean 'embed'"),
        ([], "required"),
        (["embed", "nowhere.wav"], "nowhere.wav"),
        (["embed", "x.wav", "--output", "x.txt"], "expected .npz, .npy or .csv"),
        (["embed", "x.wav", "--output", "no/where/x.npz"], "a folder that exists"),
        (["embed", "x.wav", "--chunk", "nan"], "chunk nan: expected a number of seconds above 0"),
        (["embed", "x.wav", "--chunk", "-1"], "chunk -1.0: expected"),
        (["embed", "x.wav", "--device", "gpu"], "device 'gpu': expected auto, cpu, cuda"),
        (["embed", "x.wav", "--encoder", "torchaudo:x"], "did you mean 'torchaudio'"),
        (["embed", "x.wav", "--encoder", "nowhere"], "no config.json in it"),
        (["describe", "nowhere"], "nowhere: no such file or folder"),
        (["check", "python:nowhere:X"], "No module named 'nowhere'"),
        (["compare", "nowhere"], "nowhere: no predictions in it"),
        (["report", "nowhere", "--output", "x"], "nowhere: not the output of a finished"),
        (["report", "nowhere", "--pairs", "--output", "x"], "name an .html file"),
        (["report", "nowhere", "--pairs", "--output", "x.html"], "no config.yaml"),
        (["report", "x", "--run", "a", "--output", "x"], "expected NAME=FOLDER"),
        (["doctor", "--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    out, err = lines(capsys)
    assert out == []
    assert len(err) == 1
    assert err[0].startswith("audiossl: ")
    assert message in err[0]


def test_a_pipe_that_closes_early_is_no_error(experiment):
    script = "import sys; from audiossl.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "describe", str(experiment.cuts), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


def test_the_package_runs_as_the_command():
    command = [sys.executable, "-m", "audiossl", "embd"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def clips(tmp_path) -> Path:
    for name, seconds in (("a", 0.5), ("b", 1.0)):
        tone = 0.2 * np.sin(np.arange(int(8000 * seconds)))
        soundfile.write(tmp_path / f"{name}.wav", tone, 8000)
    (tmp_path / "bad.wav").write_bytes(b"nothing")
    return tmp_path


def test_embed_writes_vectors_and_leaves_out_what_it_cannot_read(clips, experiment, capsys):
    output = clips / "out.npz"
    words = ["embed", f"{clips}/*.wav", "--encoder", f"{experiment.cola_0}", "--device", "cpu"]
    (clips / ".out.npz.999999999.part").write_text("of a run that was killed")
    for extra, code in (((), 3), (("--skip",), 0)):
        assert main([*words, "--output", f"{output}", *extra]) == code
        out, err = lines(capsys)
        assert "2 files, 1 left out" in out[0]
        assert "left out" in err[0]
        assert "bad.wav" in err[0]
    assert not list(clips.glob(".*"))
    found = np.load(output)
    assert [Path(name).name for name in found["paths"]] == ["a.wav", "b.wav"]
    assert found["vectors"].shape[0] == 2
    assert np.isfinite(found["vectors"]).all()


def test_embed_writes_frames_with_their_times(clips):
    output = clips / "out.csv"
    words = ["embed", f"{clips}/b.wav", "--frames", "--device", "cpu", "--output", f"{output}"]
    assert main(words) == 0
    rows = list(csv.reader(output.read_text(encoding="utf-8").splitlines()))
    assert rows[0][:3] == ["path", "time", "e0"]
    assert [float(row[1]) for row in rows[1:4]] == [0.0, 0.02, 0.04]
    assert main([*words[:-1], f"{clips}/out.npy"]) == 2


def test_describe_counts_labels_of_a_folder_and_of_what_was_made_of_it(experiment, capsys):
    folder = ["describe", f"{experiment.audio}", "--labels", f"{experiment.audio / 'labels.csv'}"]
    assert main([*folder, "--only-labeled", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert main(["describe", f"{experiment.cuts}", "--json"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert one["labels"]["kind"] == other["labels"]["kind"] == {"tone": 12, "noise": 12, "song": 8}
    assert one["labels"]["parts"] == {"low": 16, "high": 16}
    assert one["stems"] == {"low": 8, "high": 8}
    assert one["hours"] == pytest.approx(other["hours"], rel=1e-3)
    assert one["rates"] == {"16000": 32}
    assert main(folder) == 0
    text = capsys.readouterr().out
    assert "folder of audio" in text
    assert "song 8" in text


def test_describe_names_what_cannot_be_used(clips, capsys):
    assert main(["describe", f"{clips}"]) == 0
    text = capsys.readouterr().out
    assert "2, and 1 that cannot be used" in text
    assert "bad.wav" in text


def test_describe_counts_labels_of_unknown_files_as_unusable(clips, capsys):
    (clips / "labels.csv").write_text("path,kind\nc.wav,x\n")
    assert (
        main(["describe", f"{clips}", "--labels", f"{clips / 'labels.csv'}", "--only-labeled"]) == 0
    )
    text = capsys.readouterr().out
    assert "0, and 1 that cannot be used" in text
    assert "c.wav: labels name it, but there is no such file" in text


def test_check_passes_a_good_encoder_and_fails_a_bad_one(capsys):
    assert main(["check", "python:tests.models.encoders:Windows"]) == 0
    assert "no of 13 properties fail" in capsys.readouterr().out
    assert main(["check", "python:tests.models.encoders:PaddingLeaks", "--json"]) == 1
    findings = {one["name"]: one["holds"] for one in json.loads(capsys.readouterr().out)}
    assert findings["padding changes nothing"] is False


def test_compare_writes_tables(experiment, capsys):
    words = ["compare", f"{experiment.fitted}", "--reference", "cola", "--replicates", "100"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "cola (2 runs)" in text
    assert "against cola:" in text
    assert main([*words, "--format", "csv", "--encoder", "source", "--task", "kind"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert {row["encoder"] for row in rows} == {"cola (2 runs)", "source"}
    assert main([*words, "--format", "markdown", "--probe", "linear"]) == 0
    assert capsys.readouterr().out.startswith("| task | probe | encoder |")
    assert main([*words, "--format", "latex", "--probe", "linear"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("\\begin{tabular}{lrr")
    assert "mean ranks over 2 tasks (linear): " in text
    assert "Friedman's p" in text


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_compare_writes_every_test_item(experiment, tmp_path, kind, capsys):
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / f"items.{kind}"
    words = ["compare", f"{experiment.fitted}", "--probe", "linear", "--replicates", "10"]
    assert main([*words, "--task", "kind", "--encoder", "source", "--items", f"{path}"]) == 2
    assert main([*words, "--task", "kind", "--items", f"{path}"]) == 0
    if kind == "parquet":
        rows = parquet.read_table(path).to_pylist()
    else:
        rows = list(csv.DictReader(path.read_text().splitlines()))
    assert sum(row["encoder"] == "source" for row in rows) == 8
    for row in rows:
        assert (row["target"] == row["predicted"]) == (str(row["correct"]) == "True")
    assert main([*words, "--items", f"{tmp_path / 'items.xls'}"]) == 2
    assert "items are written as .csv or .parquet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--reference", "colla"], "--reference colla: no such encoder; did you mean 'cola'"),
        (["--task", "knd"], "--task knd: not there; did you mean 'kind'"),
        (["--metric", "f1"], "unknown metric 'f1'"),
    ],
)
def test_compare_says_what_is_not_there(experiment, option, message, capsys):
    assert main(["compare", f"{experiment.fitted}", *option]) == 2
    assert message in lines(capsys)[1][0]


def test_report_writes_pages(experiment, tmp_path, capsys):
    words = ["report", f"{experiment.fitted}", "--run", f"cola={experiment.cola_0}"]
    assert main([*words, "--output", f"{tmp_path / 'page'}"]) == 0
    assert "report.html" in capsys.readouterr().out
    assert (tmp_path / "page" / "scores.png").exists()
    for extra in ([], ["--encoder", "log-mel:"]):
        output = tmp_path / "pairs.html"
        words = ["report", f"{experiment.source_0}", "--pairs", "--batches", "1", *extra]
        assert main([*words, "--output", f"{output}"]) == 0
        assert "<audio" in output.read_text(encoding="utf-8")


def test_doctor_finds_nothing_broken_here(capsys):
    code = main(["doctor"])
    text = capsys.readouterr().out
    assert code == 0, text
    assert re.search(r"ok +decode mp3", text)
    assert "torch and torchaudio" in text


def test_describe_says_what_an_encoder_gives(experiment, capsys):
    assert main(["describe", f"{experiment.cola_0}", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["layer_convention"] == "the encoder's own output"
    assert facts["sample_rate"] == 16000
    assert main(["describe", f"{experiment.cola_0}#2"]) == 0
    assert re.search(r"output +layer 2 of", capsys.readouterr().out)
    assert main(["describe", "mfcc:"]) == 0
    assert re.search(r"frames +50 Hz \(one every 20 ms\), 39 values", capsys.readouterr().out)
