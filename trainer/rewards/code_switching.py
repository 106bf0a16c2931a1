"""Staying in one language, as far as letters show it.

With m, a and f letters of the main script, of those also allowed, and of others, and c letters in names:

    1[f = 0 and m/(m + a + f + c) ≥ main_share]          or, graded,
    (1 − f/(m + a + f)) · 1[m/(m + a + f + c) ≥ main_share]

Names are words of a script that is not allowed which hold a capital Latin letter or stand in the question. They must
not take over: they count in the share of the main script. Thai benchmarks of code-switching ask for the same: no
character of another script, and enough Thai. Text without letters is worth 1 when something is written, else 0.
"""

import regex

from trainer.contract.rewards.code_switching import CodeSwitchingReward
from trainer.rewards.base import Answer, SingleReward
from trainer.rewards.letters import count_letters, find_words, split_code, unlettered
from trainer.rewards.reading import read_answer

CAPITAL = regex.compile(r"(?V1)[\p{Lu}&&\p{Script=Latin}]")


class CodeSwitching(SingleReward):
    config_class = CodeSwitchingReward
    config: CodeSwitchingReward
    range = (0.0, 1.0)

    def value(self, answer: Answer) -> float:
        config = self.config
        text = read_answer(answer, config)
        text, skipped = split_code(text) if config.skip_code else (text, "")
        main = sum(map(count_letters, find_words(text, [config.main])))
        also = sum(map(count_letters, find_words(text, [script for script in config.also if script != config.main])))
        known = [config.main, *config.also]
        asked = set(find_words(_question(answer), known, others=True))
        foreign = names = 0
        for word in find_words(text, known, others=True):
            if config.names and (CAPITAL.search(word) or word in asked):
                names += count_letters(word)
            else:
                foreign += count_letters(word)
        letters = main + also + foreign + names
        if not letters:
            return unlettered(text, skipped)
        if main < config.main_share * letters:
            return 0.0
        if config.graded:
            return 1 - foreign / max(1, main + also + foreign)
        return float(foreign == 0)


def _question(answer: Answer) -> str:
    """What was asked, without the template's own words where the row tells."""
    return str(answer.row.get("question") or answer.prompt_text)
