"""Where misses and false alarms are equally frequent, between the thresholds of a set of scores."""

import numpy as np
from jaxtyping import Float

Rates = Float[np.ndarray, "replicates thresholds"]


def equal_rates(misses: Rates, alarms: Rates) -> Float[np.ndarray, " replicates"]:
    """Find the rate at which both are equal, joining thresholds by straight lines as the ROC does.

    Args:
        misses: Share of targets that are rejected, from the strictest threshold to the laxest.
        alarms: Share of the others that are accepted.

    Returns:
        NaN where one of the two is not defined.

    Example:
        >>> equal_rates(np.array([[1.0, 0.5, 0.0]]), np.array([[0.0, 0.0, 1.0]])).round(3)
        array([0.333])
    """
    defined = np.isfinite(misses[:, -1] + alarms[:, -1])
    after = np.argmax(alarms >= misses, axis=1)
    rows, before = np.arange(len(after)), np.maximum(after - 1, 0)
    gap = misses[rows, before] - alarms[rows, before]
    grown = gap + alarms[rows, after] - misses[rows, after]
    step = np.divide(gap, grown, out=np.zeros_like(gap), where=grown > 0)
    rise = alarms[rows, after] - alarms[rows, before]
    return np.where(defined, alarms[rows, before] + step * rise, np.nan)
