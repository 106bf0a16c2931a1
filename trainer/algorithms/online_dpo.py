"""Direct preference optimisation on pairs that the policy samples itself and rewards tell apart.

For each prompt x of an optimiser step G completions are sampled; y_w is the one of highest reward, y_l the one of
lowest, and the loss is that of `trainer.algorithms.dpo`, averaged over the pairs of the step:

    L = (1/B) Σ_b ℓ(h_b),    h = [log π(y_w|x) − log π_ref(y_w|x)] − [log π(y_l|x) − log π_ref(y_l|x)]

with the policy as it entered the stage for reference. No gradient flows through sampling. A prompt whose completions
are all worth the same, or differ by no more than `least_difference`, makes no pair; nor does one whose best and worst
completion are the same tokens. Completions of which a reward failed are left out, and the others still make a pair.
Source: Guo et al. 2024, arXiv:2402.04792, section 3, with rewards in place of the annotating model.
"""

from typing import TYPE_CHECKING, Any

from trainer.advantages import worth_the_same
from trainer.algorithms.base import LossTerms, Note, Update
from trainer.algorithms.rollouts import RolloutAlgorithm
from trainer.contract.stages.online_dpo import OnlineDpoStage

if TYPE_CHECKING:
    from trainer.data.batch import TokenBatch
    from trainer.policy import Policy
    from trainer.reference import Reference
    from trainer.rollouts.rollout import Rollout


class OnlineDpo(RolloutAlgorithm):
    stage_class = OnlineDpoStage
    stage: OnlineDpoStage
    reference: "Reference"

    def open(self) -> None:
        from trainer.reference import Reference

        super().open()
        self.reference = Reference(self.context.policy)
        self.context.placement.hold_policy("reference", self.reference.policy, phases=("student", "save"))

    def learn_from(self, rollouts: "list[Rollout]", *, part: int) -> Update:
        from trainer.data.batch import flatten
        from trainer.rollouts.contests import rank_group
        from trainer.rollouts.rollout import groups_of

        groups = groups_of(rollouts)
        pairs = [pair for group in groups if (pair := self._find_pair(rank_group(group)))]
        for rollout in rollouts:
            if not rollout.masked and "preferred" not in rollout.detail:
                rollout.masked = "Neither the best nor the worst of its prompt."
        size = self.share(self.stage.prompts_per_step)
        batches = [
            flatten(
                [rollout.document() for pair in pairs[start : start + size] for rollout in pair],
                device=self.context.device,
            )
            for start in range(0, len(pairs), size)
        ]
        differences = [(best.reward or 0.0) - (worst.reward or 0.0) for best, worst in pairs]
        metrics = {"preference/pairs": float(len(pairs)), "preference/tied_share": 1 - len(pairs) / len(groups)}
        if pairs:
            metrics["preference/reward_difference"] = sum(differences) / len(pairs)
        return Update(batches, metrics)

    def loss(self, batch: "TokenBatch", policy: "Policy", *, targets: int) -> LossTerms:
        from trainer.preferences import compare_pairs

        losses_B, reported = compare_pairs(policy, self.reference, batch, beta=self.stage.beta, loss=self.stage.loss)
        return LossTerms({"preference": losses_B.sum() / max(1, targets)}, counted=len(losses_B), reported=reported)

    def tensors(self) -> dict[str, Any]:
        return self.reference.tensors()

    def restore(self, state: dict[str, Any], tensors: dict[str, Any]) -> None:
        super().restore(state, tensors)
        self.reference.restore(tensors)

    def notes(self) -> dict[str, Note]:
        return {"objective": self.stage.loss, "reference": "the policy as it entered the stage"}

    def _find_pair(self, ranked: "list[Rollout]") -> "tuple[Rollout, Rollout] | None":
        """The best and the worst, marked as such; None where they do not differ enough."""
        if len(ranked) < 2:
            return None
        best, worst = ranked[0], ranked[-1]
        highest, lowest = best.reward or 0.0, worst.reward or 0.0
        near = highest - lowest <= self.stage.least_difference or worth_the_same(highest, lowest)
        if near or best.token_ids == worst.token_ids:
            for rollout in ranked:
                rollout.masked = "A tie: the completions of the prompt are worth the same."
            return None
        best.detail["preferred"], worst.detail["preferred"] = True, False
        return best, worst
