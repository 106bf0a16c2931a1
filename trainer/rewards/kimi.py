"""Length reward of Kimi k1.5 (arXiv:2501.12599, section 2.3.3), within the group of one prompt.

    λ_i = 0.5 − (len_i − min_len) / (max_len − min_len)

A correct answer gets λ_i, a wrong one min(0, λ_i). Where all answers of the group have one length, all get 0. Minimum
and maximum run over every answer of the group, correct or not.
"""

from collections import defaultdict
from collections.abc import Sequence

from trainer.contract.rewards.kimi import KimiReward
from trainer.rewards.base import Answer, Fault, Reward, Score, is_correct


class Kimi(Reward):
    config_class = KimiReward
    config: KimiReward
    range = (-0.5, 0.5)

    def score(self, answers: Sequence[Answer]) -> list[Score]:
        lengths: dict[int | None, list[int]] = defaultdict(list)
        for answer in answers:
            lengths[answer.group].append(answer.tokens)
        return [self._score(answer, lengths[answer.group]) for answer in answers]

    def _score(self, answer: Answer, lengths: list[int]) -> Score:
        if answer.group is None:
            return Score(None, "The answer belongs to no group, so there is nothing to compare its length with.")
        try:
            correct = is_correct(answer, self.config)
        except Fault as fault:
            return Score(None, str(fault))
        shortest, longest = min(lengths), max(lengths)
        if shortest == longest:
            return Score(0.0)
        share = 0.5 - (answer.tokens - shortest) / (longest - shortest)
        return Score(share if correct else min(0.0, share))
