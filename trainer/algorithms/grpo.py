"""Group-relative policy optimisation: of several completions of a prompt, the better ones become likelier.

For the rollouts i of an optimiser step, o_i their tokens, r = π_θ/π_old of a token at the sampling temperature:

    A_i = (R_i − mean R) / (std R + ε)        within the group of a prompt; without std where not asked for
    ℓ_{i,t} = w_{i,t} · max(−r A_i, −clip(r, 1 − ε_low, 1 + ε_high) A_i) + κ · (e^d − d − 1),    d = log π_ref/π_θ
    L = Σ_i Σ_t s_{i,t} ℓ_{i,t}

    token_mean       s = 1 / Σ_i |o_i|          over all micro-batches of the step (arXiv:2503.14476, eq. 8)
    sequence_mean    s = 1 / (S |o_i|)          S rollouts that train (arXiv:2402.03300, eq. 3)
    constant         s = 1 / (S max_new_tokens) (arXiv:2503.20783, eq. 1 with the fixed length of its code)

w is the truncated importance weight min(π_old/π_sampler, C), without gradient, on the policy term alone; `dual_clip`
and `ratio: sequence` (GSPO) are described in `trainer.losses.policy_gradient`. κ is `kl_weight`; the reference is the
policy as it entered the stage.

A rollout without a value (a reward failed) has no advantage and is in neither numerator nor denominator, and so are
rollouts that were cut off where `filter_overlong` is set; the latter still count in the mean and deviation of their
group. With `dynamic_sampling` a group whose rewards agree is replaced by another prompt's, at most `rounds` times; what
is still missing then is missing from the step. Source: Shao et al. 2024, arXiv:2402.03300, section 4.1.

While the weights are those that sampled, π_old is π_θ without its gradient, and no second pass is made.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from trainer.algorithms.base import Batch, LossTerms, Note, Update
from trainer.algorithms.rollouts import RolloutAlgorithm
from trainer.contract.stages.base import TrainingStage
from trainer.contract.stages.grpo import GrpoStage
from trainer.contract.stages.rollouts import PolicyGradientStage

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.policy import Policy
    from trainer.reference import Reference
    from trainer.rollouts.batch import RolloutBatch
    from trainer.rollouts.rollout import Rollout


class Grpo(RolloutAlgorithm):
    stage_class: ClassVar[type[TrainingStage]] = GrpoStage
    stage: PolicyGradientStage
    reference: "Reference | None" = None

    def open(self) -> None:
        super().open()
        if self.stage.kl_weight:
            from trainer.reference import Reference

            self.reference = Reference(self.context.policy)
            self.context.placement.hold_policy("reference", self.reference.policy, phases=("teacher", "save"))

    def value(self, rollouts: "list[Rollout]") -> None:
        """Rewards, then advantages within each group."""
        from trainer.advantages import group_advantages
        from trainer.rollouts.rollout import groups_of

        super().value(rollouts)
        for group in groups_of(rollouts):
            advantages = group_advantages(
                [rollout.reward for rollout in group],
                divide_by_std=self.stage.divide_by_std,
                epsilon=self.stage.std_epsilon,
            )
            for rollout, advantage in zip(group, advantages, strict=True):
                rollout.advantage = advantage
                if not rollout.masked and not self.may_train(rollout):
                    rollout.masked = "Cut off before it ended."

    def may_train(self, rollout: "Rollout") -> bool:
        return super().may_train(rollout) and not (self.stage.filter_overlong and rollout.truncated)

    def complete(self, rollouts: "list[Rollout]") -> "tuple[list[Rollout], list[Rollout]]":
        """Replace groups that teach nothing, in a bounded number of rounds."""
        from trainer.rollouts.rollout import groups_of

        if not self.stage.dynamic_sampling.rounds:
            return rollouts, []
        kept: list[Rollout] = []
        replaced: list[Rollout] = []
        wanted, sampled = len(groups_of(rollouts)), 0
        for left in range(self.stage.dynamic_sampling.rounds, -1, -1):
            for group in groups_of(rollouts):
                sampled += 1
                if any(rollout.advantage and not rollout.masked for rollout in group):
                    kept += group
                else:
                    for rollout in group:
                        rollout.masked = rollout.masked or "Replaced: all rollouts of the prompt are worth the same."
                    replaced += group
            missing = wanted - len(groups_of(kept))
            if not missing or not left:
                break
            rollouts = self._sample_groups(missing, first_group=sampled)
        return kept, replaced

    def learn_from(self, rollouts: "list[Rollout]", *, part: int) -> Update:
        from trainer.rollouts.batch import flatten_rollouts, shares_of_tokens

        stage = self.stage
        trained = [rollout for rollout in rollouts if not rollout.masked]
        shares = shares_of_tokens(
            [rollout.sampled for rollout in trained],
            aggregation=stage.aggregation,
            constant=stage.sampling.max_new_tokens,
        )
        if self.reference and part == 0:  # later parts ask the policy as well
            self.context.placement.enter("teacher")
        size = self.share(stage.batch_size)
        batches: list[Batch] = []
        for place, start in enumerate(range(0, len(trained), size)):
            span = slice(start, start + size)
            batch = flatten_rollouts(trained[span], shares[span], device=self.context.device)
            if self.context.ranks.owns(place):
                batch = self._add_frozen_logprobs(batch, on_policy=part == 0)
            batches.append(batch)
        return Update(batches)

    def loss(self, batch: Any, policy: "Policy", *, targets: int) -> LossTerms:
        from trainer.losses.policy_gradient import clipped_surrogate, k3_divergence, truncated_importance

        stage = self.stage
        logp_K, entropy_K = policy.logprobs(batch, temperature=stage.sampling.temperature, with_entropy=True)
        old_logp_K = logp_K.detach() if batch.old_logp_K is None else batch.old_logp_K
        surrogate = clipped_surrogate(
            logp_K,
            old_logp_K,
            batch.advantage_K,
            clip_low=stage.clip_low,
            clip_high=stage.clip_high,
            dual_clip=stage.dual_clip,
            rollout_K=batch.rollout_K if stage.ratio == "sequence" else None,
            rollouts=batch.rollouts,
        )
        loss_K = surrogate.loss_K
        if stage.importance_cap is not None:
            loss_K = loss_K * truncated_importance(old_logp_K, batch.behaviour_logp_K, stage.importance_cap)
        terms = {"policy/loss": (loss_K * batch.weight_K).sum()}
        gap_K = (old_logp_K - batch.behaviour_logp_K).abs()
        reported = {
            "policy/entropy": _sum(entropy_K),
            "policy/clip_fraction": _sum(surrogate.clipped_K.float()),
            "policy/logp_gap": _sum(gap_K),
        }
        if batch.reference_logp_K is not None:
            divergence_K = k3_divergence(logp_K, batch.reference_logp_K)
            terms["policy/kl_loss"] = stage.kl_weight * (divergence_K * batch.weight_K).sum()
            reported["policy/kl"] = _sum(divergence_K.detach())
        largest = {"policy/ratio_max": surrogate.ratio_K.max().item(), "policy/logp_gap_max": gap_K.max().item()}
        return LossTerms(terms, reported=reported, largest=largest)

    def tensors(self) -> "dict[str, Tensor]":
        return self.reference.tensors() if self.reference else {}

    def restore(self, state: dict[str, Any], tensors: "dict[str, Tensor]") -> None:
        super().restore(state, tensors)
        if self.reference:
            self.reference.restore(tensors)

    def notes(self) -> dict[str, Note]:
        stage = self.stage
        scale = f", over the group's deviation + {stage.std_epsilon:g}" if stage.divide_by_std else ""
        return {
            "advantage": f"reward − mean of the group{scale}",
            "aggregation": stage.aggregation,
            "reference": "the policy as it entered the stage" if stage.kl_weight else "none",
        }

    def _add_frozen_logprobs(self, batch: "RolloutBatch", *, on_policy: bool) -> "RolloutBatch":
        """What other weights than those being trained say of the tokens."""
        import torch

        temperature = self.stage.sampling.temperature
        with torch.no_grad():
            if not on_policy:
                batch = replace(batch, old_logp_K=self.context.policy.logprobs(batch, temperature=temperature))
            if self.reference:
                logp_K = self.reference.policy.logprobs(batch, temperature=temperature)
                batch = replace(batch, reference_logp_K=logp_K)
        return batch


def _sum(values_K: "Tensor") -> tuple[float, float]:
    return values_K.sum().item(), float(len(values_K))
