"""Can one tell from a clip's codes which side they are of? If so, the codebook is not shared.

A linear probe, of which no better than guessing is wanted.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def side_leakage(
    distributions: Sequence[Float[np.ndarray, "pairs codes"]],
    groups: Shaped[np.ndarray, " pairs"],
    folds: int = 5,
) -> float:
    """Name the sides of clips by their code distributions, on groups that were not learnt from.

    Args:
        distributions: Of each side of the same pairs, with sums of 1.
        groups: What is kept on one side of a split.
        folds: Of cross-validation; fewer where there are fewer groups.

    Returns:
        Accuracy, of which chance is 1 over the number of sides; NaN with fewer than two groups.
    """
    count = min(folds, len(np.unique(groups)))
    if count < 2:
        return float("nan")
    sides = np.repeat(np.arange(len(distributions)), [len(d) for d in distributions])
    # Square roots: a difference of small shares counts as one of large ones does.
    values = np.sqrt(np.concatenate(distributions).astype(np.float64))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    split = GroupKFold(count)
    everyone = np.tile(groups, len(distributions))
    return float(cross_val_score(probe, values, sides, groups=everyone, cv=split).mean())
