"""Train by every method with graphs whose outputs are overwritten when the next step begins.

    python -m tests.training.overwriting [NAME ...]

Run as a program, without checks of shapes. Recipes train tiny encoders for three steps on the
corpora of `tests.contracts`: as they are, and with units compiled by a backend that stands in for
CUDA graphs. What its graphs give, forward and backward, is their own memory: all of its bytes are
set as soon as a step begins, so that floats are NaN. Prints a line for each: the losses of both
runs, how many outputs were overwritten, and how often a step began.
"""

import json
import os
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd

from audiossl.training import loop
from audiossl.training.compilation import compile_units
from audiossl.training.writers import read_metrics
from tests.contracts import (
    ARCHIVE,
    BARLOW,
    CLIPS,
    CONTRIBUTING,
    METHODS,
    Recipe,
    files_of,
    make_pairs,
    write_files,
)

PREFIX = "compared: "
"""Of lines that are JSON."""
QUEUE = ["--method.similarity", "cosine", "--method.queue", "8"]
FORGETTING = ["--initial_weights", "exp/cola-plain", "--forgetting", "{stage: 1}"]


def _more(method: str, words: Sequence[str]) -> Recipe:
    recipe = METHODS[method]
    return Recipe(recipe.module, recipe.work, [*recipe.words, *words])


RUNS = {
    "cola": (METHODS["cola"], "efficientnet", 2),
    "queue": (_more("cola", QUEUE), "patch_transformer", 2),
    "queue of whole batches": (_more("cola", QUEUE), "patch_transformer", 1),
    "forgetting": (_more("cola", FORGETTING), "efficientnet", 1),
    "source_association": (_more("source_association", QUEUE), "patch_transformer", 2),
    "soft_negatives": (METHODS["soft_negatives"], "patch_transformer", 2),
    "time_contrast": (METHODS["time_contrast"], "zipformer", 2),
    "masked_codes": (METHODS["masked_codes"], "zipformer", 2),
    "code_matching": (METHODS["code_matching"], "patch_transformer", 2),
    "masked_patches": (METHODS["masked_patches"], "patch_transformer", 2),
    "asit": (METHODS["asit"], "patch_transformer", 2),
    "frame_projections": (METHODS["frame_projections"], "patch_transformer", 2),
    "distillation": (METHODS["distillation"], "layered", 2),
    "privileged": (METHODS["privileged"], "patch_transformer", 2),
    BARLOW: (METHODS[BARLOW], "patch_transformer", 2),
}
"""Recipe, encoder and parts of a batch by name: every method, and what keeps something from step to
step. Parts of a batch are all that steps are, and gradients are added up over them, too."""


class Overwriting:
    """A backend of torch.compile, and what marks the beginning of a step for it."""

    def __init__(self) -> None:
        self.given: list[torch.UntypedStorage] = []
        self.begun = self.overwritten = 0

    def backend(
        self, graph: Any, inputs: list[Any], options: dict[str, Any] | None = None
    ) -> Callable[..., Any]:
        """Compile a graph, forward and backward."""
        assert options == {"triton.cudagraphs": True}
        compiled: Callable[..., Any] = aot_autograd(fw_compiler=self._recorded)(graph, inputs)
        return compiled

    def begin(self) -> None:
        """Overwrite all that was given."""
        self.begun += 1
        self.overwritten += len(self.given)
        for storage in self.given:
            torch.empty(0, dtype=torch.uint8).set_(storage).fill_(255)
        self.given = []

    def _recorded(self, graph: Any, _: list[Any]) -> Callable[..., Any]:
        constants = {_place(tensor) for tensor in (*graph.buffers(), *graph.parameters())}

        def run(*values: Any) -> Any:
            # A graph works on copies of its inputs, but for weights; it may give back neither.
            theirs = constants | {_place(value) for value in values if isinstance(value, Tensor)}
            outputs = graph(*values)
            for output in outputs:
                # Storages, and no tensors: autograd takes for a gradient what nobody else holds.
                if isinstance(output, Tensor) and _place(output) not in theirs:
                    self.given.append(output.untyped_storage())
            return outputs

        return make_boxed_func(run)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@contextmanager
def overwriting() -> Iterator[Overwriting]:
    """Stand in for CUDA graphs."""
    graphs = Overwriting()
    compiled = partial(compile_units, backend=graphs.backend)
    with (
        mock.patch.object(loop, "compile_units", compiled),
        mock.patch.object(loop, "check_graphs"),
        mock.patch.object(torch.compiler, "cudagraph_mark_step_begin", graphs.begin),
    ):
        yield graphs


def losses(
    recipe: Recipe, encoder: str, output: str, parts: int, *words: str
) -> list[float | None]:
    """Train; return the loss of each step, or None where nothing counted."""
    words = ("--loop.accumulate", str(parts), *words)
    Recipe(recipe.module, recipe.work, [*recipe.words, *words]).run(encoder, output)
    return [line.get("loss") for line in read_metrics(Path(output))]


def compared(name: str) -> dict[str, Any]:
    """Train both ways."""
    recipe, encoder, parts = RUNS[name]
    output = f"exp/{name}".replace(":", "_").replace(" ", "_")
    plain = losses(recipe, encoder, f"{output}-plain", parts)
    torch._dynamo.reset()
    with overwriting() as graphs:
        words = ("--loop.compile", "true", "--loop.graphs", "true")
        graphed = losses(recipe, encoder, f"{output}-graphs", parts, *words)
    figures = {"begun": graphs.begun, "overwritten": graphs.overwritten}
    return {"plain": plain, "graphs": graphed, **figures}


def main(names: Sequence[str]) -> None:
    """Compare all, or those that are named."""
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.path.insert(0, folder)
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(".", filter="data")
        write_files(Path(), {**files_of(CONTRIBUTING), "clips.py": CLIPS})
        make_pairs()
        for name in names or RUNS:
            line = json.dumps({"name": name, **compared(name)})
            print(f"{PREFIX}{line}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
