import json
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from audiossl.errors import UserError
from audiossl.losses.build import DclConfig, InfoNceConfig, LossConfig
from recipes.record import begin_record, split_inputs


@dataclass(frozen=True)
class _Corpus:
    cuts: Path
    codes: tuple[Path, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True)
class _Config:
    cuts: Path
    output: Path
    corpora: tuple[_Corpus, ...] = ()
    folders: tuple[Path, ...] = ()
    named: dict[str, Path] = field(default_factory=dict)
    cache: Path | None = None
    widths: tuple[int, ...] = (1, 2)


def test_paths_are_inputs_wherever_they_are_and_no_settings():
    config = _Config(
        cuts=Path("a"), output=Path("out"), folders=(Path("b"),), named={"x": Path("c")},
        corpora=(_Corpus(Path("d"), (Path("e"), Path("f")), 2.0), _Corpus(Path("g"))),
    )  # fmt: skip
    inputs, identity = split_inputs(config)
    assert {name: str(path) for name, path in inputs.items()} == {
        "cuts": "a", "folders.0": "b", "named.x": "c", "corpora.0.cuts": "d",
        "corpora.0.codes.0": "e", "corpora.0.codes.1": "f", "corpora.1.cuts": "g",
    }  # fmt: skip
    assert identity == {
        "cache": None, "widths": [1, 2],
        "corpora": [{"codes": [], "weight": 2.0}, {"codes": [], "weight": 1.0}],
    }  # fmt: skip


@dataclass(frozen=True)
class _Run:
    output: Path
    loss: LossConfig = InfoNceConfig()


@pytest.mark.parametrize(("loss", "same"), [("dcl", True), ("info_nce", False)])
def test_a_run_whose_loss_was_a_word_goes_on(tmp_path, loss, same):
    config = _Run(output=tmp_path, loss=DclConfig())
    begin_record(config, "stage")
    path = tmp_path / "stage.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "finished": "today", "identity": {"loss": loss}}))
    with nullcontext() if same else pytest.raises(UserError, match=r"loss.kind info_nce -> dcl"):
        begin_record(config, "stage")
