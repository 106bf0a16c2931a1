"""Accuracy by log-likelihood per character."""

from collections.abc import Sequence

from trainer.evaluation.metrics.base import ChoiceMetric


class NormalisedAccuracy(ChoiceMetric):
    """The option with the greatest log-likelihood per character (code point), which does not depend on tokenizers."""

    name = "acc_norm"

    def choose(self, loglikelihoods: Sequence[float], choices: Sequence[str]) -> int:
        return max(range(len(choices)), key=lambda i: loglikelihoods[i] / len(choices[i]))
