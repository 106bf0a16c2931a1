"""How many items a question needs, and what the items at hand could have shown."""

import math

import scipy

LEVEL = 0.05
POWER = 0.80


def detectable_difference(error: float, *, family: int = 1) -> float:
    """Smallest true difference found with 80 % probability when the difference has this standard error.

    2.80 standard errors for one comparison at the 5 % level; a `family` of comparisons shares that level evenly.
    """
    return float(scipy.special.ndtri(1 - LEVEL / family / 2) + scipy.special.ndtri(POWER)) * error


def items_needed(variance: float, difference: float, *, family: int = 1) -> int:
    """(z_{1-α/2} + z_{1-β})² · variance / difference², with the variance of one item's difference."""
    return math.ceil((detectable_difference(math.sqrt(variance), family=family) / difference) ** 2)


def expected_paired_error(discordant: float, count: int) -> float:
    """Standard error of a paired difference of two equal rates that disagree on a share `discordant` of the items."""
    return math.sqrt(discordant / count)


def forecast_error(
    count: int, *, between: float, within_a: float = 0.0, within_b: float = 0.0, samples_a: int = 1, samples_b: int = 1
) -> float:
    """Standard error of a paired difference before any run: sqrt((ω² + σ_A²/K_A + σ_B²/K_B) / n) (Miller 2024).

    ω² is the variance of the true differences by question, σ² the variance of a question's samples.
    """
    return math.sqrt((between + within_a / samples_a + within_b / samples_b) / count)
