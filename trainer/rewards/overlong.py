"""Soft overlong punishment of DAPO (arXiv:2503.14476, equation 13).

With limit L and buffer C, for a completion of |y| sampled tokens:

    0                    |y| ≤ L − C
    ((L − C) − |y|)/C    L − C < |y| ≤ L
    −1                   |y| > L

Typhoon-S uses L = 4096 and C = 1024. Tokens of tools are not counted: the policy did not write them.
"""

from trainer.contract.rewards.overlong import OverlongReward
from trainer.rewards.base import Answer, SingleReward


class Overlong(SingleReward):
    config_class = OverlongReward
    config: OverlongReward
    range = (-1.0, 0.0)

    def value(self, answer: Answer) -> float:
        free = (self.config.limit or answer.longest) - self.config.buffer
        return max(-1.0, min(0.0, (free - answer.tokens) / self.config.buffer))
