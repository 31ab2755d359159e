"""Budgets of the source: sizes of functions and files, and where names of corpora may be."""

import ast
import re
import statistics
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("audiossl/**/*.py"), *ROOT.glob("recipes/**/*.py")])
CORPORA = (
    "magnatagatune", "mtat", "musdb", "librispeech", "libriheavy", "gigaspeech", "voxpopuli",
    "audioset", "spoken_?coco", "places_?audio", "musan", "fma_(small|large|full)",
)  # fmt: skip

RIDDLES = {
    "Of", "Which", "Whose", "Who", "Its", "As", "Over", "Into", "What", "How", "Where", "By", "In",
    "At", "From", "With", "That",
}  # fmt: skip


def function_lengths() -> list[int]:
    """Lines of every function, without its signature and docstring."""
    lengths = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                documented = ast.get_docstring(node) is not None
                body = node.body[1:] if documented and len(node.body) > 1 else node.body
                lengths.append((body[-1].end_lineno or 0) - body[0].lineno + 1)
    return lengths


def test_functions_fit_on_a_screen():
    lengths = sorted(function_lengths())
    assert statistics.median(lengths) <= 10
    assert lengths[int(0.9 * len(lengths))] <= 18


def test_files_are_read_in_one_sitting():
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert statistics.median(lengths.values()) <= 140
    assert sorted(lengths.values())[int(0.9 * len(lengths))] <= 240
    assert {str(path): length for path, length in lengths.items() if length > 400} == {}


def test_code_knows_no_corpus():
    found = {}
    for path in FILES:
        code = ast.unparse(_without_docstrings(ast.parse(path.read_text("utf-8"))))
        if names := re.findall(rf"\b(?:{'|'.join(CORPORA)})\b", code, re.IGNORECASE):
            found[str(path.relative_to(ROOT))] = names
    assert found == {}, "names of corpora belong into egs/"


def test_docs_of_fields_name_the_quantity():
    """They are what --help prints: "Number of steps", not "How many steps"."""
    riddles = {}
    for path in FILES:
        for place, text in _field_docs(ast.parse(path.read_text("utf-8"))):
            if text.split()[0].strip(",;:") in RIDDLES:
                riddles[f"{path.relative_to(ROOT)}: {place}"] = text
    assert riddles == {}, "begin with a noun, or with Whether"


def _field_docs(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield class and field, and the docstring beneath the field."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for field, doc in pairwise(node.body):
                if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr):
                    yield f"{node.name}.{ast.unparse(field.target)}", ast.literal_eval(doc.value)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [n for n in body if not (isinstance(n, ast.Expr) and _is_text(n.value))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return tree


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
