"""Share of the right script: (letters of the allowed scripts) / (letters of any script).

Letters are Unicode's category L with a script of their own; vowel signs above and below, digits and punctuation do not
count. A text without letters is worth 1 when something is written, else 0.
"""

from trainer.contract.rewards.script import ScriptReward
from trainer.rewards.base import Answer, SingleReward
from trainer.rewards.letters import count_letters, find_words, split_code, unlettered
from trainer.rewards.reading import read_answer


class ScriptShare(SingleReward):
    config_class = ScriptReward
    config: ScriptReward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        text = read_answer(answer, self.config)
        text, skipped = split_code(text) if self.config.skip_code else (text, "")
        allowed = sum(map(count_letters, find_words(text, [*self.config.scripts])))
        foreign = sum(map(count_letters, find_words(text, [*self.config.scripts], others=True)))
        if not allowed + foreign:
            return unlettered(text, skipped)
        share = allowed / (allowed + foreign)
        return share if self.config.at_least is None else float(share >= self.config.at_least)
