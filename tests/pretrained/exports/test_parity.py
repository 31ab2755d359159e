import json

import pytest

from audiossl.cli import main
from audiossl.pretrained.exports.parity import check_exports
from audiossl.pretrained.load import load_encoder
from tests.pretrained.exports.exported import make_encoders


@pytest.fixture(scope="module")
def zipformer(tmp_path_factory):
    return str(make_encoders(tmp_path_factory.mktemp("encoders")) / "zipformer")


def findings(source, *forms):
    return {one.name: one for one in check_exports(source, load_encoder(source), forms)}


def test_forms_that_hold_are_told_from_those_an_encoder_cannot_have(zipformer, capsys):
    found = findings(zipformer, "spear", "hear")
    assert [one.holds for one in found.values()] == [True, True]
    assert found["export to spear"].details == "the same bits"
    (impossible,) = findings("log_mel:8", "spear").values()
    assert impossible.holds is None
    assert "SPEAR's form is for a Zipformer" in impossible.details
    assert not capsys.readouterr().out


@pytest.mark.parametrize("largest", ["0.5", "float('nan')"])
def test_a_form_that_changes_the_encoder_fails(tmp_path, monkeypatch, largest):
    (tmp_path / "changed.py").write_text(
        "from audiossl.pretrained.certificate import Difference\n\n\n"
        "def write(place, export):\n"
        f"    return [Difference('frames, 1 s', {largest}, 2.0), Difference('8', 9.0, 1.0, True)]\n"
    )
    monkeypatch.chdir(tmp_path)
    (found,) = findings("log_mel:8", "python:changed:write").values()
    assert found.holds is False
    assert "frames, 1 s differs" in found.details


def test_check_tells_the_exports_of_own_encoders_and_of_forms_that_are_named(
    zipformer, monkeypatch, capsys
):
    monkeypatch.setattr("audiossl.cli.check.QUICK", ("spear",))
    monkeypatch.setattr("audiossl.cli.check.check_encoder", lambda encoder: iter(()))
    for words, expected in (
        ([zipformer], ["export to spear"]),
        ([zipformer, "--forms"], []),
        (["log_mel:8"], []),
        (["log_mel:8", "--forms", "hear"], ["export to hear"]),
    ):
        assert main(["check", *words, "--json"]) == 0
        assert [one["name"] for one in json.loads(capsys.readouterr().out)] == expected


def test_an_unknown_form_is_one_line(capsys):
    assert main(["check", "log_mel:8", "--forms", "onx"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "did you mean 'onnx'" in told
