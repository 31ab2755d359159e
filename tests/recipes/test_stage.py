import json
import subprocess
import time

import pytest

from audiossl.errors import UserError
from recipes.record import fingerprint
from recipes.settings import read_settings
from recipes.stage import run
from tests.forked_python import forking_environment
from tests.recipes.counting import Config, Nested, count

COUNTING = ("python", "-m", "tests.recipes.counting")


@pytest.fixture
def numbers(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text("1 2 3 4 5")
    return path


def _run(numbers, **settings):
    config = Config(numbers=numbers, output=numbers.parent / "out", **settings)
    return run(config, count, "counting")


def _content(folder):
    return {p.name: p.read_text() for p in folder.glob("*.txt") if p.name != "log.txt"}


def test_a_finished_stage_is_up_to_date_and_touches_nothing(numbers, caplog):
    caplog.set_level("INFO")
    record = _run(numbers)
    assert record["results"]["items"] == 5
    assert record["results"]["sum"] == 15
    before = (numbers.parent / "out" / "1.txt").stat().st_mtime_ns
    assert _run(numbers) == json.loads(json.dumps(record))
    assert "up to date" in caplog.text
    assert (numbers.parent / "out" / "1.txt").stat().st_mtime_ns == before


def test_other_settings_are_refused_by_name_and_resources_are_not(numbers):
    _run(numbers)
    with pytest.raises(UserError, match=r"power\.exponent 2 -> 3.*remove this one"):
        _run(numbers, power=Nested(exponent=3))
    numbers.write_text("1 2 3")
    with pytest.raises(UserError, match=r"input numbers \(fingerprint \w+ -> \w+\)"):
        _run(numbers)


def test_an_interrupted_stage_goes_on_at_the_missing_shards(numbers, tmp_path):
    numbers.write_text("1 2 error 4 5")
    with pytest.raises(UserError, match="number error"):
        _run(numbers)
    record = json.loads((tmp_path / "out" / "stage.json").read_text())
    assert record["finished"] is None
    assert set(_content(tmp_path / "out")) == {"0.txt", "1.txt"}
    stamp = (tmp_path / "out" / "0.txt").stat().st_mtime_ns
    # Half a shard that a crash left behind, and a receipt whose file is gone.
    (tmp_path / "out" / "1.txt").unlink()
    numbers.write_text("1 2 3 4 5")
    with pytest.raises(UserError, match="input numbers"):
        _run(numbers)
    record["inputs"]["numbers"]["fingerprint"] = fingerprint(numbers)
    (tmp_path / "out" / "stage.json").write_text(json.dumps(record))
    _run(numbers)
    assert _content(tmp_path / "out") == {f"{i}.txt": str((i + 1) ** 2) for i in range(5)}
    assert (tmp_path / "out" / "0.txt").stat().st_mtime_ns == stamp


def test_skips_are_listed_and_bounded(numbers, tmp_path):
    numbers.write_text("1 2 x 4 5")
    assert _run(numbers)["results"]["skipped"] == 1
    (line,) = (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()
    assert json.loads(line) == {"id": "2", "reason": "'x' is no number"}
    numbers.write_text("1 x y 4 5")
    config = Config(numbers=numbers, output=tmp_path / "more")
    with pytest.raises(UserError, match=r"2 of 5 items cannot be used, more than the 20%.*'x' is"):
        run(config, count, "counting")


def test_inputs_that_are_missing_or_unfinished_are_refused(numbers, tmp_path):
    with pytest.raises(UserError, match=r"none\.txt does not exist"):
        _run(tmp_path / "none.txt")
    _run(numbers)
    record = json.loads((tmp_path / "out" / "stage.json").read_text())
    (tmp_path / "out" / "stage.json").write_text(json.dumps({**record, "finished": None}))
    with pytest.raises(UserError, match=r"unfinished: run its stage \(counting\)"):
        fingerprint(tmp_path / "out")


def test_a_stage_made_again_from_the_same_is_the_same_input(numbers, tmp_path):
    _run(numbers)
    first = fingerprint(tmp_path / "out")
    config = Config(numbers=numbers, output=tmp_path / "again")
    run(config, count, "counting")
    assert fingerprint(tmp_path / "again") == first
    other = Config(numbers=numbers, output=tmp_path / "other", power=Nested(exponent=3))
    run(other, count, "counting")
    assert fingerprint(tmp_path / "other") != first


def _command(*words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COUNTING, *words], capture_output=True, text=True, timeout=timeout, check=False,
        env=forking_environment(),
    )  # fmt: skip


def test_a_killed_worker_loses_nothing(numbers, tmp_path):
    done = _command(
        "--numbers", str(numbers), "--output", str(tmp_path / "out"), "--kill_at", "3",
        "--resources.workers", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert _content(tmp_path / "out") == {f"{i}.txt": str((i + 1) ** 2) for i in range(5)}


def test_a_killed_stage_goes_on(numbers, tmp_path):
    words = ("--numbers", str(numbers), "--output", str(tmp_path / "out"), "--kill_at", "3")
    assert _command(*words).returncode == -9
    assert set(_content(tmp_path / "out")) == {"0.txt", "1.txt", "2.txt"}
    assert _command(*words).returncode == 0
    assert _content(tmp_path / "out") == {f"{i}.txt": str((i + 1) ** 2) for i in range(5)}


def test_a_mistake_is_one_line_and_exit_code_2(numbers, tmp_path):
    done = _command("--numbrs", str(numbers), "--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        "unknown setting 'numbrs'; did you mean 'numbers'?"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("power: {exponen: 3}", "unknown setting 'power.exponen'; did you mean 'power.exponent'?"),
        ("power: {exponent: many}", "power.exponent: expected a whole number, found 'many'"),
        ("resource: {workers: 2}", "did you mean 'resources'?"),
    ],
)
def test_a_mistyped_setting_is_named_with_the_closest_known_one(tmp_path, yaml, message):
    (tmp_path / "conf.yaml").write_text(yaml)
    with pytest.raises(UserError) as caught:
        read_settings(
            Config, "x",
            ["--config", str(tmp_path / "conf.yaml"), "--numbers", "a", "--output", "b"],
        )  # fmt: skip
    assert message in str(caught.value)


def test_configs_are_merged_in_order_and_words_come_last(tmp_path):
    (tmp_path / "base.yaml").write_text("power: {exponent: 3}\nmax_skipped: 0.5\n")
    (tmp_path / "more.yaml").write_text("max_skipped: 0.1\n")
    words = ["--config", str(tmp_path / "base.yaml"), "--config", str(tmp_path / "more.yaml")]
    words += ["--numbers", "a", "--output", "b", "--power.exponent", "4"]
    config = read_settings(Config, "x", words)
    assert (config.power.exponent, config.max_skipped) == (4, 0.1)


def test_a_run_that_was_refused_before_it_computed_anything_leaves_its_folder_free(numbers):
    numbers.write_text("error")
    with pytest.raises(UserError, match="number error"):
        _run(numbers)
    numbers.write_text("1 2 3")
    assert _run(numbers, power=Nested(exponent=3))["results"]["sum"] == 6


def test_what_killed_runs_left_half_written_is_removed_at_the_next_start(numbers, tmp_path):
    left = [tmp_path / "out" / ".1.txt.123.part", tmp_path / "out" / "deep" / ".x.part" / "y"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    _run(numbers)
    assert not list((tmp_path / "out").rglob("*.part"))


def test_an_output_inside_its_input_does_not_change_the_input(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("a")
    before = fingerprint(tmp_path / "in")
    (tmp_path / "in" / "out").mkdir()
    (tmp_path / "in" / "out" / "b").write_text("b")
    assert fingerprint(tmp_path / "in", tmp_path / "in" / "out") == before
    assert fingerprint(tmp_path / "in") != before
    # Nor do those of the stages that follow, from their first moment.
    (tmp_path / "in" / "out" / ".lock").touch()
    assert fingerprint(tmp_path / "in") == before
    record = {"stage": "x", "finished": "now", "identity": {}, "results": {}}

    def made_of(path):
        inputs = {"folder": {"path": str(path), "fingerprint": "0"}}
        (tmp_path / "in" / "out" / "stage.json").write_text(json.dumps(record | {"inputs": inputs}))

    made_of(tmp_path / "in")
    assert fingerprint(tmp_path / "in") == before
    # What a stage has made of something else is a part of the input.
    made_of(tmp_path / "elsewhere")
    with_other = fingerprint(tmp_path / "in")
    assert with_other != before
    (tmp_path / "in" / "out" / "stage.json").write_text("[another's]")
    assert fingerprint(tmp_path / "in") not in (before, with_other)
    made_of(tmp_path / "elsewhere")
    (tmp_path / "in" / "out" / "b").write_text("longer")
    assert fingerprint(tmp_path / "in") not in (before, with_other)
    with pytest.raises(UserError, match="is an input as well"):
        fingerprint(tmp_path / "in", tmp_path / "in" / ".." / "in")


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"identity": 3}', "\0", "[" * 100_000]
)
def test_a_receipt_that_is_none_is_a_task_that_is_not_done(numbers, tmp_path, content):
    _run(numbers)
    record = json.loads((tmp_path / "out" / "stage.json").read_text())
    (tmp_path / "out" / "stage.json").write_text(json.dumps({**record, "finished": None}))
    (tmp_path / "out" / "receipts" / "000001.json").write_text(content)
    (tmp_path / "out" / "1.txt").write_text("5")
    assert _run(numbers)["results"] == record["results"]
    assert _content(tmp_path / "out")["1.txt"] == "4"


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"finished": null, "stage": 3}'])
def test_a_record_that_is_none_is_named(numbers, tmp_path, content):
    _run(numbers)
    (tmp_path / "out" / "stage.json").write_text(content)
    with pytest.raises(UserError, match=r"stage\.json"):
        _run(numbers)


def test_a_stopped_stage_ends_between_items_and_goes_on(numbers, tmp_path):
    words = ["--numbers", str(numbers), "--output", str(tmp_path / "out"), "--seconds", "0.5"]
    for workers in ("0", "2"):
        command = [*COUNTING, *words]
        command[-3] = str(tmp_path / f"out{workers}")
        started = subprocess.Popen(
            [*command, "--resources.workers", workers], stderr=subprocess.PIPE, text=True,
            env=forking_environment(),
        )  # fmt: skip
        while not (tmp_path / f"out{workers}" / "receipts" / "000000.json").exists():
            time.sleep(0.02)
            assert started.poll() is None
        started.terminate()
        _, told = started.communicate(timeout=60)
        assert started.returncode == 75, told
        assert told.splitlines()[-1].endswith("interrupted; the same command goes on from here")
        assert "Traceback" not in told
        config = Config(numbers=numbers, output=tmp_path / f"out{workers}", seconds=0.5)
        assert run(config, count, "tests.recipes.counting")["results"]["sum"] == 15


def test_two_runs_in_one_folder_are_not_possible(numbers, tmp_path):
    words = ("--numbers", str(numbers), "--output", str(tmp_path / "out"), "--seconds", "1")
    with subprocess.Popen(
        [*COUNTING, *words], stderr=subprocess.PIPE, text=True, env=forking_environment()
    ) as first:
        while not (tmp_path / "out" / "stage.json").exists():
            time.sleep(0.02)
        with pytest.raises(UserError, match="another run is at work"):
            _run(numbers)
        first.terminate()
        first.communicate(timeout=60)
