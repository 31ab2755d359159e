"""How this package is installed here, and the line that adds what is missing.

The name `audiossl` on the public package index belongs to another library, which is imported by the
same name. A line that is advised therefore names the checkout, or the missing packages themselves,
and never the name alone.
"""

import re
from collections.abc import Iterator
from pathlib import Path

NAME = "audiossl"
COMMAND = "audiossl.cli:main"
"""Entry point of this package's command; the other library of the name has none."""


def install_line(extra: str) -> str:
    """Write the command that installs the packages of an extra, in the environment at hand.

    >>> install_line("teachers").split("pip install")[0].endswith("python -m ")
    True
    """
    checkout = Path(__file__).parents[1]
    if (checkout / "pyproject.toml").is_file():
        return f"in {checkout}: python -m pip install -e '.[{extra}]'"
    packages = " ".join(f"'{package}'" for package in _packages(extra))
    return f"python -m pip install {packages}" if packages else f"its extra {extra!r}"


def missing_package(what: str, package: str | None, extra: str) -> str:
    """Say which package is missing, of which extra, and what to run.

    Args:
        what: What cannot be done without it.
        package: Name that could not be imported.
        extra: Group of optional dependencies that brings it.
    """
    return f"{what}: needs {package}, of the extra {extra!r}: {install_line(extra)}"


def strangers() -> list[str]:
    """List installed distributions that are called `audiossl` and are not this package."""
    from importlib import metadata  # 25 ms, for which help would wait

    return [
        f"{package.metadata['Name']} {package.version}"
        for package in metadata.distributions(name=NAME)
        if COMMAND not in {point.value for point in package.entry_points}
    ]


def _packages(extra: str) -> Iterator[str]:
    """List what an extra requires, as the metadata of the installed package says."""
    from importlib import metadata

    installed = next(iter(metadata.distributions(name=NAME)), None)
    for line in (installed and installed.requires) or ():
        package, _, condition = line.partition(";")
        if re.search(rf"extra\s*==\s*['\"]{re.escape(extra)}['\"]", condition):
            yield package.strip()
