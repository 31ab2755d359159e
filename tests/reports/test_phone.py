"""A report on a narrow screen, laid out by a real browser where there is one."""

import shutil
import subprocess

import pytest

from audiossl.probing.results import Difference, Row, Score, TaskResults
from audiossl.reports.differences import overview_of_differences, task_differences
from audiossl.reports.page import Section, page, table
from audiossl.reports.scores import overview, task_scores

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
LONG = "a_rather_long_name_of_an_encoder+with_its_layer_21"
MEASURE = """<script>addEventListener("load", () => {
  const wide = [...document.querySelectorAll("h1,h2,h3,th,td,p,svg,caption,.track,.figure")].filter(
    (e) => e.getBoundingClientRect().right > innerWidth + 1 ||
      (getComputedStyle(e).overflowX != "visible" && e.scrollWidth > e.clientWidth + 1));
  const scrolls = document.documentElement.scrollWidth > innerWidth;
  document.title = `${innerWidth} wide; scrolls ${scrolls}; cut off: ` +
    wide.filter((e) => e.clientWidth).map((e) => e.tagName + "." + e.className).join(" ");
});</script>"""


def example(name):
    figure = Score(0.61, 0.55, 0.66)
    scores = {"balanced_accuracy": figure, "accuracy": figure}
    rows = (Row(LONG, "linear", "encoder", scores), Row("chance", "none", "chance", scores))
    counts = {"train": 1000, "valid": 200, "test": 300}
    return TaskResults(
        name, "balanced_accuracy", rows, classes=("one", "two"), items=counts, groups=counts,
        positives={split: (1.0, 2.0) for split in counts},
        differences=(Difference("linear", LONG, f"{LONG}_other", figure),),
    )  # fmt: skip


@pytest.mark.skipif(BROWSER is None, reason="no chromium")
def test_nothing_is_cut_off_on_a_narrow_screen(tmp_path):
    tasks = [example(f"speech-music-sound-and-everything-{number}") for number in range(6)]
    wide = table(
        [f"a column of figures {n}" for n in range(9)], [["row", *["0.123 (0.1 to 0.2)"] * 8]]
    )
    sections = [
        Section("Glance", overview(tasks) + overview_of_differences(tasks)),
        Section("Scores", "".join(task_scores(task, task_differences(task)) for task in tasks)),
        Section("Table", wide),
    ]
    text = page("A report", "", sections).replace("</body>", f"{MEASURE}</body>")
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{tmp_path / 'page.html'}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = done.stdout[done.stdout.index("<title>") + 7 : done.stdout.index("</title>")]
    assert "wide; scrolls false; cut off: " in title
    assert title.endswith("cut off: "), title
