"""LCPO-Exact (arXiv:2503.04697, equation 1): −α · |n_gold − n_y|.

n_gold is the length that the prompt asks for ("Think for n_gold tokens."), n_y the sampled length. The paper's reward
is 1[correct] + this: list a reward for correctness beside it. α = 0.0003, n_gold between 100 and 4000.
"""

import math

from trainer.contract.rewards.lcpo import LcpoReward
from trainer.rewards.base import Answer, Row, SingleReward
from trainer.rewards.targets import missing_target, target_tokens


class Lcpo(SingleReward):
    config_class = LcpoReward
    config: LcpoReward
    range = (-math.inf, 0.0)

    def value(self, answer: Answer) -> float:
        return -self.config.alpha * abs(target_tokens(answer.row, self.config) - answer.tokens)

    def missing(self, row: Row) -> str:
        return missing_target(row, self.config)
