"""Memory that is freed stays with the process, where a command has asked for that."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, os, resource, sys
import torch
from audiossl.memory import keep_freed_memory

kept = sys.argv[1] == "kept" and keep_freed_memory()
faults = []
for _ in range(20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(25_000_000)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(json.dumps([kept, faults]))
"""


def faults(word, **environment):
    """Whether memory is kept, and the pages that each of 20 tensors of 100 MB makes anew."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, word],
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), **environment},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_tensor_takes_the_pages_of_one_before():
    kept, pages = faults("kept")
    if not kept:
        pytest.skip("another C library")
    assert pages[0] > 100  # huge pages may be 2 MB
    # A block that is aligned a little otherwise does not fit into that of the first ones.
    assert max(pages[10:]) < pages[0] / 10
    kept, pages = faults("left")
    assert not kept
    assert min(pages) > pages[0] / 2


def test_what_the_environment_says_is_left_alone():
    kept, _ = faults("kept", MALLOC_TRIM_THRESHOLD_="131072")
    assert not kept
