import json

import pytest
import torch

from recipes.benchmark import gpu, scaling
from recipes.benchmark.cases import REHEARSED
from recipes.benchmark.measures import Case, Figures, measured

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "build", {build: name for name, _, build, _ in gpu.CASES}, ids=lambda build: build.__name__
)
def test_every_case_can_be_repeated(build):
    case = build(REHEARSED, CPU, "eager")
    for number in range(2):
        case.step(number)
    assert case.audio_seconds >= 0


def test_operations_and_audio_are_divided_by_the_time_of_a_step():
    left, right = torch.randn(64, 32), torch.randn(32, 16)
    figures = measured(Case(lambda _: left @ right, 10.0, period=3), CPU, 0.01)
    seconds = figures.milliseconds / 1e3
    assert figures.teraflops * seconds == pytest.approx(2 * 64 * 32 * 16 / 1e12)
    assert figures.audio_hours_per_hour == pytest.approx(10.0 / seconds)


def test_rows_are_on_disk_as_soon_as_they_are_measured_and_a_failed_one_ends_nothing(
    tmp_path, monkeypatch, capsys
):
    def broken(*_):
        raise RuntimeError("out of memory")

    def last(*_):
        assert len(json.loads((tmp_path / "gpu.json").read_text())["rows"]) == 2
        return Case(lambda _: torch.ones(3) * 2)

    first = gpu.CASES[-3][2]
    monkeypatch.setattr(gpu, "CASES", [(b.__name__, "eager", b, 0) for b in (broken, first, last)])
    assert gpu.main(["--rehearse", "--output", str(tmp_path / "gpu.json")]) == 1
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [row["case"] for row in rows] == ["broken", first.__name__, "last"]
    assert rows[0]["error"] == "failed: RuntimeError: out of memory"
    assert Figures(**{k: v for k, v in rows[2].items() if k not in ("case", "mode")}).teraflops == 0
    assert "out of memory" in capsys.readouterr().out


def test_costs_of_a_corpus_follow_from_its_hours_and_the_gpus():
    stage = scaling.Stage("encode", operations=2e9, passes=3.0, bytes_per_second=800.0)
    assert stage.speed(1e13) == pytest.approx(5000.0)
    cells = [cell.strip() for cell in stage.row(1e5, [1, 8], 1e13).strip("|").split("|")]
    assert cells[1:] == ["2.0", "3", "5,000", "60.0", "7.5", "0.29"]


def test_operations_of_a_teacher_are_those_of_its_layers_and_of_little_else():
    """Twelve squares of its width a layer, two operations each, 50 times a second."""
    layers = 24 * 12 * 1024**2 * 2 * 50
    assert 1.0 < scaling.wavlm_large(5) / layers < 1.5
