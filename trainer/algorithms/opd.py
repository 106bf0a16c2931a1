"""On-policy distillation: a teacher's next-token distribution at every token, most of all at those the student writes.

    L = (1/K) Σ_k D(T_k, S_k) + w · b̄ · (1/K) Σ_k −log S_k(y_k)

over the K completion tokens of an optimiser step, T and S the distributions of teacher and student at `temperature`:

    β = 0      D = KL(T ‖ S)
    β = 1      D = KL(S ‖ T)
    between    D = β·KL(T ‖ M) + (1 − β)·KL(S ‖ M),    M = β·T + (1 − β)·S

summed over the vocabulary, or over the teacher's `top_k` tokens with both distributions renormalised among them. The
coin b ~ Bernoulli(λ) of a step follows from the recipe's seed and the step: heads, and the completions are sampled by
the student (no gradient flows through sampling); tails (b̄ = 1 − b), and they are the answers of the rows, whose
likelihood may be added with weight w. Source: Agarwal et al. 2023, arXiv:2306.13649, section 3 and algorithm 1; used
with λ = 0.25 and β = 0 by Pipatanakul and Taveekitworachai 2026, arXiv:2601.18129.

`estimator: sampled` replaces D by its estimate log S(y) − log T(y) at the sampled token, differentiated as a policy
gradient: unbiased for the reverse KL of each token, at far higher variance.

The teacher reads the very token ids that the student reads, tools and template included; `teacher_prompt` gives it a
system turn of its own, and only the completion's tokens are compared. Entries of either head beyond the tokenizer's
last token are padding and belong to no distribution.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainer.algorithms.base import Batch, LossTerms, Note, Update
from trainer.algorithms.rollouts import RolloutAlgorithm
from trainer.contract.stages.opd import OpdStage
from trainer.data.rows import Row
from trainer.failures import InvalidSpec

if TYPE_CHECKING:
    from trainer.data.documents import TokenizedDocument
    from trainer.distillation import DistilBatch, Distilled
    from trainer.policy import Policy
    from trainer.rollouts.prompts import Prompt
    from trainer.rollouts.rollout import Rollout
    from trainer.teacher import Teacher


class Opd(RolloutAlgorithm):
    stage_class = OpdStage
    stage: OpdStage
    teacher: "Teacher"
    _waiting: "tuple[list[Rollout], int] | None" = None
    """Rollouts whose divergence is being measured, and the step they belong to."""
    _updates_left: int = 0
    """Optimiser steps that still learn from them."""

    def open(self) -> None:
        from trainer.teacher import open_teacher

        field = f"recipe.stages[{self.context.number}].teacher"
        placement = self.context.placement
        placement.enter("teacher")  # the policy makes room
        self.teacher = open_teacher(self.context.spec, self.stage.teacher, self.context.policy, field=field)
        full = self.stage.estimator == "full"
        placement.hold_policy(
            "teacher", self.teacher.policy, phases=("teacher",), head=("student", "teacher") if full else ("teacher",)
        )
        super().open()
        self._check_context(field)

    def messages(self, row: Row) -> list[dict[str, Any]]:
        from trainer.rollouts.answers import answer_of

        if self.stage.on_policy < 1 and answer_of(row) is None:
            raise ValueError(
                "it has no answer, and steps that are not on-policy train on answers; set on_policy to 1 or add them."
            )
        return super().messages(row)

    def collect(self, step: int) -> Sequence[Update]:
        """Completions of the student or answers of rows, as the coin of this round says."""
        from trainer.data.show import show_documents

        self._store_waiting()
        if self._is_on_policy(step):
            return super().collect(step)
        self.prompts.progress = (step - 1) / self.count_steps()
        updates = []
        for _ in range(self.stage.updates_per_rollout):
            drawn = self.prompts.draw(self.stage.batch_size)
            given = [self._given_answer(prompt, group) for group, prompt in enumerate(drawn)]
            found = {"distil/on_policy": 0.0, **self.prompts.drawn_prompts()}
            updates.append(Update(self._make_batches(given, on_policy=False), found))
        if step == 1:
            show_documents(self.context, [rollout.document() for rollout in given])
        return updates

    def learn_from(self, rollouts: "list[Rollout]", *, part: int) -> Update:
        return Update(self._make_batches(rollouts, on_policy=True), {"distil/on_policy": 1.0})

    def loss(self, batch: "DistilBatch", policy: "Policy", *, targets: int) -> LossTerms:
        found = self._compare(batch, policy)
        if batch.on_policy:
            self._note_divergence(batch, found)
        place = "on" if batch.on_policy else "off"
        terms = {"divergence": found.total / max(1, targets)}
        reported = {f"distil/divergence_{place}_policy": (found.values_K.sum().item(), float(batch.targets))}
        if found.nll is not None:
            terms["cross_entropy"] = self.stage.cross_entropy_weight * found.nll / max(1, targets)
            reported["distil/ce"] = (found.nll.item(), float(batch.targets))
        return LossTerms(terms, reported=reported)

    def after_update(self) -> None:
        super().after_update()
        self._updates_left -= 1
        if self._updates_left == 0:
            self._store_waiting()

    def measure(self) -> dict[str, float]:
        """Divergence on the likeliest completion of every held-out prompt and, where rows have them, on answers."""
        from trainer.rollouts.answers import answer_of
        from trainer.rollouts.scoring import describe_rollouts

        values: dict[str, float] = {}
        for store in self.held_out:
            written = self.answer_held_out(store)
            prompts = [store.prompt(place) for place in range(len(store))]
            given = [
                self._given_answer(prompt, group)
                for group, prompt in enumerate(prompts)
                if answer_of(prompt.row) is not None
            ]
            name = f"held_out/{store.rows.name}"
            values |= {
                f"{name}/length": describe_rollouts(written)["rollout/length"],
                f"{name}/divergence_on_policy": self._measure(written, on_policy=True),
                **({f"{name}/divergence_off_policy": self._measure(given, on_policy=False)} if given else {}),
            }
        return values

    def notes(self) -> dict[str, Note]:
        return {
            "teacher": self.stage.teacher,
            "teacher_parameters": self.teacher.policy.count_parameters(),
            "compared_tokens": self.stage.top_k or self.teacher.vocabulary,
        }

    def _is_on_policy(self, step: int) -> bool:
        """The coin of a round: the same on every process and after every interruption."""
        from trainer.sampling.randomness import seed_for, uniform

        return (
            uniform(seed_for(self.context.seed, f"stage {self.context.number} on-policy"), step) < self.stage.on_policy
        )

    def _check_context(self, field: str) -> None:
        """The teacher's own prompt makes its documents longer than the student's by about the same everywhere."""
        context = self.teacher.policy.context_length or math.inf
        for store in [*self.prompts.stores, *self.held_out]:
            prompt = store.prompt(0)
            longest = self.stage.sequence_length + len(self._teacher_prompt(prompt)) - len(prompt.ids)
            if longest > context:
                raise InvalidSpec(
                    f"{field}: {self.stage.teacher} reads {context} tokens, and a sequence with its prompt has up to "
                    f"{longest}; lower sequence_length, shorten teacher_prompt or choose another teacher."
                )

    def _given_answer(self, prompt: "Prompt", group: int) -> "Rollout":
        from trainer.rollouts.answers import given_rollout

        return given_rollout(
            prompt,
            self.messages(prompt.row),
            self.context.policy.tokenizer,
            group=group,
            longest=self.stage.sequence_length,
        )

    def _measure(self, rollouts: "list[Rollout]", *, on_policy: bool) -> float:
        """Mean divergence per token, without a gradient."""
        import torch

        policy = self.context.policy
        policy.model.eval()
        with torch.no_grad():
            batches = self._make_batches(rollouts, on_policy=on_policy)
            self.context.placement.enter("student")
            found = 0.0
            for place, batch in enumerate(batches):
                if self.context.ranks.owns(place):
                    found += float(self._compare(batch, policy).values_K.sum())  # type: ignore[arg-type]
        policy.model.train()
        return sum(self.context.ranks.gather(found)) / sum(batch.targets for batch in batches)

    def _store(self, rollouts: "list[Rollout]", step: int) -> None:
        """Later, together with the divergence that the student's pass will find."""
        self._waiting, self._updates_left = (rollouts, step), self.stage.updates_per_rollout

    def _store_waiting(self) -> None:
        if self._waiting is None:
            return
        rollouts, step = self._waiting
        for rollout, found in zip(rollouts, zip(*self._known_divergences(rollouts), strict=True), strict=True):
            if known := [value for value in found if value is not None]:
                rollout.detail["divergence"] = known[0]
        super()._store(rollouts, step)
        self._waiting = None

    def _known_divergences(self, rollouts: "list[Rollout]") -> "list[list[Any]]":
        """Of every rank; each found those of its own micro-batches."""
        return self.context.ranks.gather([rollout.detail.get("divergence") for rollout in rollouts])

    def _make_batches(self, rollouts: "list[Rollout]", *, on_policy: bool) -> "list[Batch]":
        """The teacher reads everything of this rank first, then micro-batches are made for the student."""
        from trainer.distillation import flatten_for_distillation
        from trainer.ranks import Elsewhere

        stage, ranks = self.stage, self.context.ranks
        size = self.share(stage.batch_size)
        spans = [slice(start, start + size) for start in range(0, len(rollouts), size)]
        mine = [rollout for place, span in enumerate(spans) if ranks.owns(place) for rollout in rollouts[span]]
        documents = [self._for_teacher(rollout) for rollout in mine]
        self.context.placement.enter("teacher")
        if stage.estimator == "full":
            read = self.teacher.read(documents, documents_at_once=stage.teacher_batch_size)
        else:
            read = self.teacher.score(
                documents, documents_at_once=stage.teacher_batch_size, temperature=stage.temperature
            )
        batches: list[Batch] = []
        for place, span in enumerate(spans):
            part = rollouts[span]
            if ranks.owns(place):
                known, read = read[: len(part)], read[len(part) :]
                batches.append(flatten_for_distillation(part, known, on_policy=on_policy, device=self.context.device))
            else:
                batches.append(Elsewhere.of([rollout.document() for rollout in part]))
        return batches

    def _for_teacher(self, rollout: "Rollout") -> "TokenizedDocument":
        """The same completion, after the teacher's own prompt where it has one."""
        if not self.stage.teacher_prompt:
            return rollout.document()
        prompt = replace(rollout.prompt, ids=self._teacher_prompt(rollout.prompt))
        return replace(rollout, prompt=prompt).document()

    def _teacher_prompt(self, prompt: "Prompt") -> tuple[int, ...]:
        """The prompt with the teacher's system text, before the one that is there."""
        from trainer.data.templates import chat_renderer

        if not self.stage.teacher_prompt:
            return prompt.ids
        first, *rest = self.messages(prompt.row)
        said = {"role": "system", "content": self.stage.teacher_prompt}
        if first["role"] == "system":
            said["content"] += f"\n\n{first['content']}"
            messages = [said, *rest]
        else:
            messages = [said, first, *rest]
        tokenizer = self.context.policy.tokenizer
        text = chat_renderer(tokenizer, prompt.row.get("tools"))(messages, True)
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    def _note_divergence(self, batch: "DistilBatch", found: "Distilled") -> None:
        """Beside each rollout the mean divergence of its tokens, in nats."""
        parts = found.values_K.split([rollout.sampled for rollout in batch.rollouts])
        for rollout, values_K in zip(batch.rollouts, parts, strict=True):
            rollout.detail["divergence"] = values_K.mean().item()

    def _compare(self, batch: "DistilBatch", policy: "Policy") -> "Distilled":
        from trainer.distillation import distil, distil_sampled

        stage = self.stage
        if stage.estimator == "sampled":
            return distil_sampled(batch, policy, self.teacher, temperature=stage.temperature)
        return distil(
            batch,
            policy,
            self.teacher,
            beta=stage.beta,
            temperature=stage.temperature,
            top_k=stage.top_k,
            with_nll=stage.cross_entropy_weight > 0 and not batch.on_policy,
        )
