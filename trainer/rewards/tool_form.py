"""Tools are used, and calls can be read: right calls / calls, or 0 with fewer than `fewest` right ones.

With it alone the policy learns to search; a later stage then rewards the answer (the two stages of R1-Searcher,
arXiv:2503.05592, section 3.2). A program that fails was called rightly.
"""

from trainer.contract.rewards.tool_form import ToolFormReward
from trainer.rewards.base import Answer, SingleReward


class ToolForm(SingleReward):
    config_class = ToolFormReward
    config: ToolFormReward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        wanted = set(self.config.tools)
        right = [one for one in answer.calls if one.status != "rejected" and (not wanted or one.tool in wanted)]
        return len(right) / len(answer.calls) if len(right) >= self.config.fewest else 0.0
