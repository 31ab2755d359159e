"""Stand-ins for libraries that take long to import, for a process that only prints help.

Help is made from the dataclasses of settings, and they stand beside the code that they configure,
which imports torch. A program that is asked for `--help` replaces such libraries by objects that
can be called, subscripted, subclassed and used in annotations, and do nothing (as
`autodoc_mock_imports` of Sphinx does). Tests hold that the help is the same either way.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LIBRARIES = (
    "demucs", "huggingface_hub", "jaxtyping", "joblib", "lhotse", "librosa", "matplotlib", "numpy",
    "onnx", "onnxruntime", "PIL", "pyarrow", "ray", "safetensors", "scipy", "sklearn", "soundfile",
    "soxr", "tensorboard", "threadpoolctl", "torch", "torchaudio", "tqdm", "transformers",
    "triton",
)  # fmt: skip
"""Top-level packages that are replaced."""
HELP = ("-h", "--help")


class StandIn(ModuleType):
    """A module, class, function or value that allows everything and does nothing."""

    def __getattr__(self, name: str) -> Any:
        """Return another stand-in, but none for what Python itself looks up."""
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return StandIn(f"{self.__name__}.{name}")

    def __call__(self, *arguments: Any, **_: Any) -> Any:
        """Return what is decorated, or another stand-in."""
        decorates = len(arguments) == 1 and callable(arguments[0])
        return arguments[0] if decorates else StandIn(self.__name__)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        """Be no base at all of a class that names this as one."""
        return ()

    def __iter__(self) -> Iterator[Any]:
        """Be empty."""
        return iter(())

    def _same(self, *_: Any) -> "StandIn":
        return self

    __getitem__ = __or__ = __ror__ = __add__ = __radd__ = __sub__ = __mul__ = __rmul__ = _same
    __truediv__ = __rtruediv__ = __neg__ = __pow__ = _same


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Take over the libraries that are replaced, and everything inside them."""
        replaced = name.partition(".")[0] in LIBRARIES
        return ModuleSpec(name, self, is_package=True) if replaced else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make the stand-in."""
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave it empty."""


def replace_libraries() -> None:
    """Replace `LIBRARIES` in all imports to come; for a process that only prints help.

    Where torch is there already, nothing is to be gained, and nothing is replaced.
    """
    if "torch" not in sys.modules:
        sys.meta_path.insert(0, _Finder())
