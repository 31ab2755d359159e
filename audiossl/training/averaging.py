"""Which weights a run leaves behind: their mean over its last steps."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from audiossl.configs import Count
from audiossl.errors import UserError
from audiossl.optim.weight_average import PERIOD, average_between, update_average


@dataclass(frozen=True, kw_only=True)
class AveragingConfig:
    """Over which weights the exported encoder is a mean; the defaults are SPEAR's."""

    period: Count = PERIOD
    """Number of steps between updates of the mean."""
    last: Count = 16000
    """Number of steps at the end of the run that the exported mean is over; all, if there are
    fewer."""

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            UserError: They leave nothing to average.
        """
        if self.period < 1 or self.last < self.period:
            raise UserError(
                f"averaging.period is {self.period} and averaging.last {self.last}: give at least "
                "1 step, and at least one period"
            )


class Averager:
    """The mean of a module's weights since the start, and as it was when the last steps began."""

    def __init__(self, module: nn.Module, config: AveragingConfig, steps: int) -> None:
        """Begin before the first of `steps` steps."""
        self.module, self.period = module, config.period
        self.end = steps // config.period * config.period
        self.begin = max(0, self.end - config.last // config.period * config.period)
        # In float64 the mean stays exact over hundreds of thousands of steps.
        self.mean = {name: _exact(value) for name, value in module.state_dict().items()}
        self.start: dict[str, Tensor] = {}

    def after(self, step: int) -> None:
        """Take in the weights after `step` updates, where it is time."""
        if step % self.period:
            return
        update_average(self.mean, self.module.state_dict(), step, self.period)
        if step == self.begin:
            self.start = {name: value.clone() for name, value in self.mean.items()}

    def finish(self) -> bool:
        """Give the module its mean weights over the last steps; tell whether there are any."""
        if self.end == 0:
            return False
        mean = self.mean
        if self.begin:
            mean = average_between(self.start, self.begin, self.mean, self.end)
        self.module.load_state_dict(mean)
        return True

    def state(self) -> dict[str, Any]:
        """Return what must survive a crash."""
        return {"mean": self.mean, "start": self.start}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        for name, value in state["mean"].items():
            self.mean[name].copy_(value)
        self.start = {name: value.to(self.mean[name]) for name, value in state["start"].items()}


def _exact(value: Tensor) -> Tensor:
    return value.detach().double() if value.is_floating_point() else value.detach().clone()
