"""Benjamini and Hochberg's correction, for maps that people search for where to look next.

Of the cells that it marks, at most the given share is expected to be false. A weaker promise than Holm's: a marked cell
is a place to look at, not a claim. Benjamini and Hochberg 1995, JRSS B 57:289.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def adjust_discovery(p_values: ArrayLike) -> NDArray[np.float64]:
    """q_(i) = min_{j>=i} min(1, m p_(j) / j), in the order given; by `scipy.stats.false_discovery_control`."""
    p = np.asarray(p_values, dtype=np.float64)
    if not p.size:
        return p
    from scipy.stats import false_discovery_control  # late: scipy.stats takes a second to load, pages do without

    return np.asarray(false_discovery_control(p, method="bh"))
