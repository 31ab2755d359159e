"""Whether two clips are of one speaker: the equal error rate."""

import numpy as np
from jaxtyping import Bool, Float


def equal_error_rate(
    same: Bool[np.ndarray, " trials"], scores: Float[np.ndarray, " trials"]
) -> float:
    """Find the rate at which as many trials are accepted wrongly as rejected wrongly.

    Between thresholds, both rates are joined by straight lines, as on the ROC curve.

    Args:
        same: Whether the two clips of a trial are of one speaker.
        scores: How alike they are.

    Returns:
        NaN where there are no trials of one kind.

    Example:
        >>> equal_error_rate(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1]))
        0.5
    """
    if same.all() or not same.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    accepted = np.cumsum(~same[order])[last] / (~same).sum()
    rejected = 1 - np.cumsum(same[order])[last] / same.sum()
    accepted, rejected = np.append(0.0, accepted), np.append(1.0, rejected)
    after = int(np.argmax(accepted >= rejected))
    before = after - 1
    gap = rejected[before] - accepted[before]
    step = gap / (gap + accepted[after] - rejected[after])
    return float(accepted[before] + step * (accepted[after] - accepted[before]))
