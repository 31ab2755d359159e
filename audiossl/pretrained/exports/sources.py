"""The source of a network as files that need torch alone: its modules, and those that they import.

Modules of this package become files beside one another, `audiossl.nn.frames` the file
`audiossl_nn_frames.py`, and their imports relative. Shapes in signatures, which the tests of this
package check, are read by a stand-in for jaxtyping.
"""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "audiossl"
SHAPES = '''"""Shapes in signatures are for readers: `Float[Tensor, "batch frames"]` is a Tensor."""


class _Shaped:
    def __class_getitem__(cls, item):
        return item[0]


Bool = Float = Int = Integer = Num = Shaped = _Shaped
'''
_IMPORT = re.compile(rf"^(\s*)from ({PACKAGE}(?:\.\w+)*) import (.*)$", re.MULTILINE)


def source_files(modules: list[str]) -> dict[str, str]:
    """Collect modules and everything of this package that they import.

    Args:
        modules: Full names.

    Returns:
        Content of each file by its name.
    """
    waiting, files = list(modules), {"jaxtyping_shapes.py": SHAPES}
    while waiting:
        module = waiting.pop()
        if flat(module) + ".py" not in files:
            text = _path(module).read_text("utf-8")
            files[flat(module) + ".py"] = _rewritten(text)
            waiting += _imported(text)
    return files


def flat(module: str) -> str:
    """Name the file of a module, without its ending."""
    return module.replace(".", "_")


def _rewritten(text: str) -> str:
    text = text.replace("from jaxtyping import", "from .jaxtyping_shapes import")
    return _IMPORT.sub(_relative, text)


def _relative(match: re.Match[str]) -> str:
    indent, module, names = match.groups()
    if not _is_package(module):
        return f"{indent}from .{flat(module)} import {names}"
    return "\n".join(
        f"{indent}from . import {flat(f'{module}.{name}')} as {name}"
        for name in re.split(r"\s*,\s*", names)
    )


def _imported(text: str) -> Iterator[str]:
    """List modules of this package that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            module = str(node.module)
            names = (f"{module}.{alias.name}" for alias in node.names)
            yield from names if _is_package(module) else (module,)


def _is_package(module: str) -> bool:
    return _path(module).name == "__init__.py"


def _path(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)
