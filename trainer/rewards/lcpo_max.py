"""LCPO-Max (arXiv:2503.04697, equation 2): 1[correct] · clip(α · (n_gold − n_y) + δ, 0, 1).

n_gold is the most tokens that the prompt allows, n_y the sampled length, δ = 0.5. The paper's formula; its released
code has other variants (a sigmoid, a sum instead of a product), which are not offered here.
"""

from trainer.contract.rewards.lcpo_max import LcpoMaxReward
from trainer.rewards.base import Answer, Row, SingleReward, is_correct
from trainer.rewards.targets import missing_target, target_tokens


class LcpoMax(SingleReward):
    config_class = LcpoMaxReward
    config: LcpoMaxReward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        spare = target_tokens(answer.row, self.config) - answer.tokens
        shaped = min(1.0, max(0.0, self.config.alpha * spare + self.config.delta))
        return shaped if is_correct(answer, self.config) else 0.0

    def missing(self, row: Row) -> str:
        return missing_target(row, self.config)
