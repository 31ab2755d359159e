"""Examples in docstrings of the front door and in the README are run."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = (
    "audiossl.audio.listing", "audiossl.audio.presentation", "audiossl.audio.windows",
    "audiossl.data.description", "audiossl.installation", "audiossl.nn.frames",
    "audiossl.pretrained.embed",
    "audiossl.pretrained.load", "audiossl.pretrained.sources",
)  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_docstrings(module, monkeypatch):
    monkeypatch.chdir(ROOT)
    result = doctest.testmod(import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def test_python_blocks_of_the_readme(monkeypatch):
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert names["frames"].vectors.shape[0] == 2
    assert len(names["vectors"]) > 10
