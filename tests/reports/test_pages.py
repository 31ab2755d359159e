"""What a page must be: whole, without anything from outside, and right in its numbers."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args, get_type_hints

import matplotlib.image
import numpy as np
import pytest

from audiossl.probing.measure import ProbeConfig
from audiossl.probing.results import Difference, Row, Score, TaskResults
from audiossl.reports.curves import points, shown_figures
from audiossl.reports.differences import overview_of_differences, task_differences
from audiossl.reports.figures import curve_svgs
from audiossl.reports.images import palette_png, spectrogram_png
from audiossl.reports.leakage import leakage_warnings
from audiossl.reports.maps import Maps, maps_section
from audiossl.reports.page import Section, page
from audiossl.reports.report import read_report
from audiossl.reports.scores import PROBES, overview
from audiossl.reports.sounds import audible, sound

VOID = {"meta", "link", "img", "br", "path", "input"}


class Balance(HTMLParser):
    """Collects elements that are not closed, ids, and whatever is fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.fetched: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        self.links.append(found.get("href") or "")
        for name in ("src", "href"):
            value = found.get(name) or ""
            if value and not value.startswith(("data:", "#")):
                self.fetched.append(value)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def whole(text: str) -> Balance:
    found = Balance(text)
    assert found.open == []
    assert found.wrong == []
    assert {link[1:] for link in found.links if link.startswith("#")} <= found.ids
    return found


@pytest.fixture(scope="module")
def folder(experiment) -> Path:
    return experiment.report


def test_a_report_is_one_file_that_fetches_nothing(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    found = whole(text)
    assert set(found.fetched) == {"pairs-cola.html", "pairs-source.html"}
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_a_report_shows_the_numbers_of_its_scores(experiment, folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    for task in json.loads((experiment.fitted / "scores.json").read_text())["tasks"]:
        for row in task["rows"]:
            assert f"{row['scores'][task['metric']]['score']:.3f}" in text
        for row in task["differences"]:
            assert f"{row['difference']['score']:+.3f}" in text


def test_a_run_that_has_had_test_audio_is_flagged(experiment):
    def flagged(where):
        record = {"inputs": {"cuts": {"path": str(experiment.cuts)}}, "identity": {"where": where}}
        return leakage_warnings(experiment.fitted, experiment.cuts, {"all": record})

    (warning,) = flagged({})
    assert "recording of 8 of 8 test cuts" in warning
    assert "audio of 8 of 8 test cuts" in warning
    assert flagged({"split": ["train"]}) == []
    gone = {"inputs": {"cuts": {"path": "/gone"}}, "identity": {}}
    assert leakage_warnings(experiment.fitted, experiment.cuts, {"old": gone, "none": None}) == []


def test_an_encoder_whose_run_is_not_shown_is_flagged_as_well(experiment, tmp_path):
    def copy(folder, name, **changes):
        shutil.copytree(folder, tmp_path / name)
        record = json.loads((folder / "stage.json").read_text())
        for field, change in changes.items():
            record[field] |= change
        (tmp_path / name / "stage.json").write_text(json.dumps(record))
        return {"path": str(tmp_path / name)}

    run = copy(experiment.cola_0, "run", identity={"where": {}})
    embeddings = copy(experiment.embeddings, "embeddings", inputs={"encoders.cola#0": run})
    copy(experiment.fitted, "fitted", inputs={"embeddings": embeddings})
    report = read_report(tmp_path / "fitted", title="", runs={}, rows={}, pairs={}, pages={})
    assert [warning.partition(" was")[0] for warning in report.warnings] == ["cola#0"]


def test_tables_as_markdown_hold_every_row(folder):
    standings, text = re.split(
        "(?=### kind)", (folder / "results.md").read_text(encoding="utf-8"), maxsplit=1
    )
    for name in ("cola", "source", "log-mel statistics", "random encoder"):
        assert len(re.findall(rf"^\| {re.escape(name)} \|", standings, re.MULTILINE)) == 2
    cost = r"^\| cola .* [\d.]+ M \| 0.0 h \| \d+ s \|$"
    assert len(re.findall(cost, standings, re.MULTILINE)) == 2
    for name in ("cola (2 seeds)", "source", "log-mel statistics", "random encoder", "chance"):
        assert len(re.findall(rf"^\| {re.escape(name)} \|", text, re.MULTILINE)) == 2
    assert text.count("| source - cola |") == 2
    assert "python -m recipes.probe" in text or "recipes.probe" in text


@pytest.mark.parametrize("name", ["scores.png", "curves.png", "map.png"])
def test_figures_are_pictures_with_something_on_them(folder, name):
    pixels = matplotlib.image.imread(folder / name)
    assert min(pixels.shape[:2]) > 100
    assert pixels[..., :3].std() > 0.01


def test_pairs_can_be_heard_and_seen(folder):
    text = (folder / "pairs-source.html").read_text(encoding="utf-8")
    whole(text)
    assert text.count("data:audio/flac;base64,") >= 8
    assert text.count("data:image/png;base64,") >= 8
    for word in ("similarity", "surprise", "dBFS", "rank"):
        assert word in text


def test_what_comes_from_data_is_escaped():
    text = page("<b>&</b>", "", [Section('a <"title">', "<p>body</p>")])
    whole(text)
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;&lt;/b&gt;" in text
    evil = "</script><script>alert(1)</script>"
    section = maps_section(Maps("pca", [evil], {evil: [evil]}, {evil: [[0.1, 0.2]]}))
    assert "<script>alert" not in section
    whole(page("maps", "", [Section("maps", section)]))


def test_an_image_is_read_back_as_it_was(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (13, 7)).astype(np.uint8)
    colors = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8)
    (tmp_path / "image.png").write_bytes(palette_png(pixels, colors))
    found = matplotlib.image.imread(tmp_path / "image.png")
    np.testing.assert_array_equal((found[..., :3] * 255).round(), colors[pixels])


def test_a_tone_is_a_bright_line_in_its_spectrogram(tmp_path):
    wave = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    (tmp_path / "tone.png").write_bytes(spectrogram_png(wave))
    brightness = matplotlib.image.imread(tmp_path / "tone.png")[..., :3].sum(axis=2).mean(axis=1)
    line = int(brightness.argmax())
    assert 25 < line < 50, "1 kHz lies a little below the middle of 64 mel bands, from the top"
    assert brightness[line] > 2 * np.median(brightness)


def test_sounds_are_played_at_one_loudness_and_never_clip():
    generator = np.random.default_rng(0)
    for level in (1e-4, 0.1, 3.0):
        heard = audible((level * generator.normal(size=8000)).astype(np.float32))
        assert np.sqrt(np.mean(heard**2)) == pytest.approx(0.1, rel=0.01)
    click = np.zeros(8000, np.float32)
    click[100] = 0.5
    assert np.abs(audible(click)).max() == pytest.approx(0.98)
    assert (audible(np.zeros(10, np.float32)) == 0).all()
    assert "<audio" in sound(np.zeros(100, np.float32), "a <silence>")


def test_curves_leave_out_what_is_no_number_and_take_the_colors_of_the_page():
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 1.0}]
    drawn = curve_svgs({"run": rows, "other": []})
    assert list(drawn) == ["loss"]
    assert whole(drawn["loss"]).fetched == []
    assert points(rows, "loss") == [(1.0, 2.0), (3.0, 1.0)]
    assert "var(--s0)" in drawn["loss"]
    assert drawn == curve_svgs({"run": rows, "other": []})
    assert curve_svgs({"run": [{"step": 1}]}) == {}


def test_a_curve_that_never_changes_is_drawn():
    assert "loss by step" in curve_svgs({"run": [{"step": 0, "loss": 0.0}]})["loss"]


def test_the_best_of_a_column_is_a_row_that_is_shown():
    def row(encoder, role, score):
        return Row(encoder, "linear", role, {"accuracy": Score(score, score, score)})

    rows = (row("cola", "encoder", 0.6), row("cola#0", "seed", 0.9), row("random", "random", 0.5))
    text = overview([TaskResults("t", "accuracy", rows)])
    assert text.count('class="best"') == 1
    assert text.index('class="best"') < text.index("random")
    assert "0.900" not in text


def test_the_best_of_a_column_is_never_a_score_that_is_not_defined():
    rows = tuple(
        Row(name, "linear", "encoder", {"roc_auc": Score(score)})
        for name, score in (("first", None), ("second", 0.6), ("third", 0.5))
    )
    text = overview([TaskResults("t", "roc_auc", rows)])
    assert text.count('class="best"') == 1
    assert 'class="best" data-column="t"><span>0.600' in text
    assert 'class="best"' not in overview([TaskResults("t", "roc_auc", rows[:1])])


def test_curves_show_the_accuracies_of_all_teachers_and_not_of_each_codebook():
    row = {"step": 1, "speech/masked/accuracy": 0.1, "speech/masked/accuracy/00": 0.2, "rate": 1.0}
    assert shown_figures({"run": [row]}) == ["speech/masked/accuracy"]


def difference(low, score, high):
    return Difference("linear", "one", "other", Score(score, low, high))


@pytest.mark.parametrize(
    ("interval", "said"),
    [((0.01, 0.1, 0.2), "better"), ((-0.2, -0.1, -0.01), "worse"), ((-0.1, 0.1, 0.2), "undecided"),
     ((None, 0.1, None), "undecided")],
)  # fmt: skip
def test_an_interval_says_better_only_beyond_zero(interval, said):
    row = difference(*interval)
    assert row.verdict == said
    task = TaskResults("t", "accuracy", differences=(row,))
    drawn = whole(task_differences(task) + overview_of_differences([task]))
    assert drawn.wrong == []


def test_zero_is_in_the_middle_of_differences():
    task = TaskResults("t", "accuracy", differences=(difference(-0.1, 0.0, 0.2),))
    assert 'class="dot" style="left:50.00%"' in task_differences(task)


def test_every_probe_has_a_name_in_tables():
    kinds = [get_args(get_type_hints(probe)["kind"])[0] for probe in get_args(ProbeConfig)]
    assert [kind for kind in kinds if not any(name.startswith(kind) for name in PROBES)] == []
