"""Holm's step-down correction: over a whole family the chance of any false claim stays at the level.

Holm 1979, Scandinavian Journal of Statistics 6:65. Equal to `statsmodels.stats.multitest.multipletests(method="holm")`,
which the platform does not install for these lines.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def adjust_holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """p̃_(i) = max_{j<=i} min(1, (m - j + 1) p_(j)), in the order given; of the last axis: each row is a family."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, axis=-1, kind="stable")
    left = np.arange(p.shape[-1], 0, -1)
    stepped = np.minimum(1.0, np.maximum.accumulate(left * np.take_along_axis(p, order, -1), axis=-1))
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, stepped, axis=-1)
    return adjusted
