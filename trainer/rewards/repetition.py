"""Against repetition: with r = 1 − (different n-grams)/(n-grams), the value is −max(0, r − tolerated)/(1 − tolerated).

In the manner of the repetition penalty that goes with the cosine reward (arXiv:2502.03373, section 4.3), as one number
for the whole completion instead of one for each repeated token, over characters so that it means the same in scripts
without spaces between words. Texts shorter than an n-gram are worth 0.
"""

from trainer.contract.rewards.repetition import RepetitionReward
from trainer.evaluation.folding import normalise
from trainer.rewards.base import Answer, SingleReward
from trainer.rewards.reading import read_answer


class Repetition(SingleReward):
    config_class = RepetitionReward
    config: RepetitionReward
    range = (-1.0, 0.0)

    def value(self, answer: Answer) -> float:
        text = normalise(read_answer(answer, self.config))
        units = tuple(text.split()) if self.config.unit == "words" else text
        count = len(units) - self.config.size + 1
        if count < 1:
            return 0.0
        repeated = 1 - len({units[place : place + self.config.size] for place in range(count)}) / count
        return -max(0.0, repeated - self.config.tolerated) / (1 - self.config.tolerated)
