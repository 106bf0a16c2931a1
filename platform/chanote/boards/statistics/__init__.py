"""What the boards may claim: estimates, intervals, tests and verdicts. Pure functions, no Django.

The question, or the cluster of questions that are not independent, is always the unit (Miller 2024, "Adding error bars
to evals"). Below `SMALL_ITEMS` items or `SMALL_CLUSTERS` clusters no central limit theorem is trusted (Bowyer et al.
2025): rates use score intervals, pairs use exact or permutation tests.
"""

from chanote.boards.statistics.comparison import Comparison, Verdict, compare
from chanote.boards.statistics.estimate import Estimate, estimate_mean
from chanote.boards.statistics.family import compare_family, compare_sheet
from chanote.boards.statistics.letters import display_letters
from chanote.boards.statistics.ranks import rank_intervals
from chanote.boards.statistics.sheet import Scores, Sheet

__all__ = [
    "Comparison",
    "Estimate",
    "Scores",
    "Sheet",
    "Verdict",
    "compare",
    "compare_family",
    "compare_sheet",
    "display_letters",
    "estimate_mean",
    "rank_intervals",
]
