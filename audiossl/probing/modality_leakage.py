"""Can one tell from a clip's codes which modality they are of? If so, the codebook is not shared.

A linear probe, of which no better than guessing is wanted.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def modality_leakage(
    distributions: Sequence[Float[np.ndarray, "pairs codes"]],
    groups: Shaped[np.ndarray, " pairs"],
    folds: int = 5,
) -> float:
    """Name the modalities of clips by their code distributions, on groups that were held out.

    Args:
        distributions: Of each modality of the same pairs, with sums of 1.
        groups: Pairs of one group are in one fold.
        folds: Folds of cross-validation; fewer where there are fewer groups.

    Returns:
        Accuracy, of which chance is 1 over the number of modalities; NaN with fewer than two
        groups.

    Example:
        >>> speech, text = np.eye(4)[[0] * 10], np.eye(4)[[3] * 10]  # no code in both
        >>> modality_leakage([speech, text], np.arange(10))
        1.0
    """
    count = min(folds, len(np.unique(groups)))
    if count < 2:
        return float("nan")
    modalities = np.repeat(np.arange(len(distributions)), [len(d) for d in distributions])
    # Square roots: a difference of small shares counts as one of large ones does.
    values = np.sqrt(np.concatenate(distributions).astype(np.float64))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    everyone = np.tile(groups, len(distributions))
    folds_of = GroupKFold(count)
    return float(cross_val_score(probe, values, modalities, groups=everyone, cv=folds_of).mean())
