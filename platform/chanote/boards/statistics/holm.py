"""Holm's step-down correction: over a whole family the chance of any false claim stays at the level."""

from collections.abc import Sequence


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """p̃_(i) = max_{j<=i} min(1, (m - j + 1) p_(j)), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted
