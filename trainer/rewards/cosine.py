"""Cosine length reward with its exceed term (arXiv:2502.03373, section 4).

    CosFn(t, T, a, b) = b + ½ (a − b) (1 + cos(π t / T))

for a completion of t tokens under a limit of T: CosFn(t, T, correct_short, correct_long) when correct,
CosFn(t, T, wrong_short, wrong_long) when wrong, and `exceed` whatever it says once t ≥ T. The defaults without the
exceed term are those of TRL; the paper's exceed term is −10 on a wider scale.
"""

import math

from trainer.contract.rewards.cosine import CosineReward
from trainer.rewards.base import Answer, SingleReward, is_correct


class Cosine(SingleReward):
    config_class = CosineReward
    config: CosineReward

    @property
    def range(self) -> tuple[float, float]:
        config = self.config
        ends = (config.correct_short, config.correct_long, config.wrong_short, config.wrong_long, config.exceed)
        return min(ends), max(ends)

    def value(self, answer: Answer) -> float:
        config, limit = self.config, self.config.limit or answer.longest
        correct = is_correct(answer, config)
        if answer.tokens >= limit:
            return config.exceed
        short, long = (
            (config.correct_short, config.correct_long) if correct else (config.wrong_short, config.wrong_long)
        )
        return long + 0.5 * (short - long) * (1 + math.cos(math.pi * answer.tokens / limit))
