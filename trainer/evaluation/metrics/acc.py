"""Accuracy by plain log-likelihood."""

from collections.abc import Sequence

from trainer.evaluation.metrics.base import ChoiceMetric


class Accuracy(ChoiceMetric):
    """The option whose tokens are likeliest in all. Short options have an advantage."""

    name = "acc"

    def choose(self, loglikelihoods: Sequence[float], choices: Sequence[str]) -> int:
        return max(range(len(choices)), key=lambda i: loglikelihoods[i])
