"""Reward-filtered likelihood: of several completions of a prompt, the best one is trained on like a given answer.

    L = −(1/K) Σ_x Σ_t log π(y*_t | x, y*_{<t}),    y* = argmax_i R(x, y_i)

over the K tokens of the best completions of an optimiser step. A prompt whose completions are all worth the same has no
best one and is left out, unless `least_reward` says what is good enough: then the best counts when it reaches that.
Completions of which a reward failed are left out. Source: arXiv:2601.21343, the reward-filtered form of its update.
"""

from typing import TYPE_CHECKING

from trainer.advantages import worth_the_same
from trainer.algorithms.base import LossTerms, Note, Update
from trainer.algorithms.rollouts import RolloutAlgorithm
from trainer.contract.stages.rf_nll import RfNllStage

if TYPE_CHECKING:
    from trainer.data.batch import TokenBatch
    from trainer.policy import Policy
    from trainer.rollouts.rollout import Rollout


class RfNll(RolloutAlgorithm):
    stage_class = RfNllStage
    stage: RfNllStage

    def learn_from(self, rollouts: "list[Rollout]", *, part: int) -> Update:
        from trainer.data.batch import flatten
        from trainer.rollouts.contests import rank_group
        from trainer.rollouts.rollout import groups_of

        groups = groups_of(rollouts)
        best = [one for group in groups if (one := self._find_best(rank_group(group)))]
        size = self.share(self.stage.prompts_per_step)
        batches = [
            flatten([rollout.document() for rollout in best[start : start + size]], device=self.context.device)
            for start in range(0, len(best), size)
        ]
        metrics = {"filter/kept_share": len(best) / len(groups)}
        if best:
            metrics["filter/reward"] = sum(rollout.reward or 0.0 for rollout in best) / len(best)
        return Update(batches, metrics)

    def loss(self, batch: "TokenBatch", policy: "Policy", *, targets: int) -> LossTerms:
        return LossTerms({"nll": policy.summed_nll(batch) / max(1, targets)})

    def notes(self) -> dict[str, Note]:
        least = self.stage.least_reward
        return {
            "trained": "the best completion of a prompt" + ("" if least is None else f" with reward from {least:g}")
        }

    def _find_best(self, ranked: "list[Rollout]") -> "Rollout | None":
        """The rollout to train on; the others of the prompt are masked with the reason."""
        least = self.stage.least_reward
        best = ranked[0] if ranked else None
        reason = "Not the best of its prompt."
        if best is not None:
            if least is None and worth_the_same(best.reward or 0.0, ranked[-1].reward or 0.0):
                best, reason = None, "A tie: the completions of the prompt are worth the same."
            elif least is not None and (best.reward or 0.0) < least:
                best, reason = None, f"No completion of the prompt reaches {least:g}."
        for rollout in ranked:
            if rollout is not best:
                rollout.masked = reason
        return best
