"""Examples in docstrings are run; those of documents are in test_documents.py."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES_WANTED = ("losses", "methods", "models", "nn", "probing", "quantization")
"""Packages of which every file shows its main class or function at work."""
WITHOUT_EXAMPLE = {
    "models/zipformer/attention": "parts of a layer; `Zipformer` shows the whole",
    "models/zipformer/initialization": "changes weights in place, when a Zipformer is made",
    "models/zipformer/layer": "a part of a stack; `Zipformer` shows the whole",
    "models/zipformer/stack": "a part of a Zipformer",
    "models/zipformer/kernels/shared_attention": "called by the attention of a layer alone",
    "models/zipformer/training/balancing": "changes gradients alone",
    "models/zipformer/training/batched": "changes gradients alone",
    "models/zipformer/training/limits": "changes gradients alone",
    "models/zipformer/training/regularizers": "changes gradients alone",
    "models/zipformer/config": "settings, whose docstring is printed by --help",
    "models/zipformer/training/step": "values that `sample_step` draws",
    "methods/mixing": "wants a batch of a corpus with noise",
    "nn/tensorflow_checkpoint": "wants a checkpoint of TensorFlow",
    "probing/items": "wants predictions of a probe",
    "probing/overlap": "wants two corpora",
    "probing/pair_codes": "wants embedded pairs of a corpus",
    "probing/pair_embeddings": "wants a corpus of pairs",
    "quantization/beam_triton": "runs on CUDA alone",
}
"""Files without an example, and why."""
SOURCES = {
    str(path.relative_to(ROOT / "audiossl").with_suffix("")): path.read_text("utf-8")
    for path in sorted((ROOT / "audiossl").rglob("*.py"))
}
WITH_EXAMPLE = [name for name, source in SOURCES.items() if ">>> " in source]


def test_every_file_shows_its_main_class_or_function():
    wanted = {
        name
        for name, source in SOURCES.items()
        if name.startswith(EXAMPLES_WANTED) and re.search(r"^(class|def) [a-zA-Z]", source, re.M)
    }
    assert wanted - set(WITH_EXAMPLE) == set(WITHOUT_EXAMPLE)


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_examples_of_docstrings(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    module = import_module("audiossl." + name.replace("/", ".").removesuffix(".__init__"))
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
