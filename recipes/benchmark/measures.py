"""What a repeated piece of work costs: time, share of a device's peak, kernels, memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

Mode = Literal["eager", "compiled", "graphs"]
"""As it is written; with compiled units; with these and CUDA graphs of their kernels."""


@dataclass(frozen=True)
class Case:
    """A piece of work that is repeated."""

    step: Callable[[int], object]
    """Function that does the work once; its argument counts."""
    audio_seconds: float = 0.0
    """Seconds of audio in a step; 0 where there is none."""
    period: int = 1
    """Number of steps after which the work repeats itself: regularizers act in the first of each
    period."""
    mode: Mode = "eager"
    """Mode that its first steps make it ready for."""

    @property
    def first_steps(self) -> int:
        """Steps until nothing is made any more: a graph is recorded when it is run again."""
        if self.mode == "eager":
            return min(2, self.period)
        return (3 if self.mode == "graphs" else 1) * self.period + 1


@dataclass(frozen=True)
class Figures:
    """What one case costs."""

    milliseconds: float
    """Milliseconds of a step."""
    audio_hours_per_hour: float | None
    """Hours of audio in an hour of the device."""
    teraflops: float
    """Teraflops per second of matrix products and convolutions; 0 where they were not counted."""
    kernels: list[int]
    """Kernels of each step of a period, as far as they were counted: with regularizers, without."""
    gibibytes: float
    """Peak memory in GiB."""

    def line(self, peak: float) -> str:
        """Format a line of the table, beside the TFLOP/s of a large matrix product."""
        hours = "-" if self.audio_hours_per_hour is None else f"{self.audio_hours_per_hour:,.0f}"
        kernels = " / ".join(map(str, self.kernels)) or "-"
        return (
            f"{self.milliseconds:>10.2f} {hours:>12} {self.teraflops:>8.2f} "
            f"{self.teraflops / peak:>6.1%} {kernels:>16} {self.gibibytes:>7.2f}"
        )


HEADING = (
    f"{'case':<38} {'mode':<9} {'ms a step':>10} {'audio h / h':>12} "
    f"{'TFLOP/s':>8} {'peak':>6} {'kernels':>16} {'GiB':>7}"
)


def measured(case: Case, device: torch.device, seconds: float) -> Figures:
    """Warm up, then repeat whole periods for about `seconds`."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    for number in range(case.first_steps):
        case.step(number)
    count = 0
    started = _now(device)
    while count == 0 or _now(device) - started < seconds:
        for number in range(case.period):
            case.step(number)
        count += case.period
    took = (_now(device) - started) / count
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    flops = _flops(case) if case.mode == "eager" else 0.0
    hours = case.audio_seconds / took if case.audio_seconds else None
    kernels = _kernels(case) if device.type == "cuda" else []
    return Figures(1e3 * took, hours, flops / took / 1e12, kernels, memory)


def matrix_peak(device: torch.device, size: int) -> float:
    """Measure the TFLOP/s of a product of two square matrices in bfloat16."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / _fastest(lambda: left @ right, device) / 1e12


def copy_peak(device: torch.device, size: int) -> float:
    """Measure the TB/s, read and written, of a copy of `size` bytes."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _fastest(lambda: target.copy_(source), device) / 1e12


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(8):
        started = _now(device)
        work()
        times.append(_now(device) - started)
    return min(times)


def _flops(case: Case) -> float:
    """Count operations of products and convolutions in one step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        case.step(case.period - 1)
    return float(counter.get_total_flops())


def _kernels(case: Case) -> list[int]:
    """Count kernels and copies of the first steps of a period."""
    counts = []
    for number in range(min(2, case.period)):
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            case.step(number)
            torch.cuda.synchronize()
        counts.append(sum(event.device_type.name == "CUDA" for event in profiler.events()))
    return counts


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
