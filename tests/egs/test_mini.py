"""The main job, small: from the embedded audio to a report, twice."""

import json
import subprocess

import pytest

from tests.egs.layouts import ROOT, environment


def mini(folder, *options: str) -> str:
    command = ["bash", ROOT / "egs/mini/cola/run.sh", "--effort", "smoke", "--exp-dir", str(folder)]
    done = subprocess.run(
        [*command, *options], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr


@pytest.mark.timeout(1200)
def test_from_audio_to_a_report_and_then_nothing_is_left_to_do(tmp_path):
    mini(tmp_path)
    scores = json.loads((tmp_path / "fit" / "scores.json").read_text())
    assert {"cola#0", "source#0", "random#0", "log-mel"} <= set(scores["encoders"])
    tasks = {task["name"] for task in scores["tasks"]}
    assert {"sound-category", "instruments", "speaker"} <= tasks
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    again = mini(tmp_path)
    assert again.count("up to date") == 7
