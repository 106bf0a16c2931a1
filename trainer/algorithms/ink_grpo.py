"""InK-GRPO: group-relative policy optimisation plus, on some steps, the likelihood of domain text.

    L = L_GRPO + λ · b · L_CE,    b ~ Bernoulli(ρ) once per optimiser step
    L_CE = −(1/N) Σ_d Σ_{t≥2} log π(x_{d,t} | x_{d,<t})

over the N targets of all packed documents d of the step's text, whatever the micro-batches of text or of rollouts are;
both gradients are summed before the one clip and the one update. λ is `knowledge_weight`, ρ `knowledge_rate`. With
ρ = 0 nothing differs from `grpo`.

The coin of draw k follows from the recipe's seed, the stage and k alone, and k is part of a checkpoint: every process
of a run, and every run resumed, sees the same coins. A corpus whose caps are reached is read no more. Source:
Typhoon-S, InK-GRPO (λ 0.1, ρ 0.6 there, 64 or 16 rows of text a step). There each process draws from its own generator,
and the text's weight varies with how the last micro-batch of rollouts was packed; neither is so here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from trainer.algorithms.base import LossTerms, Note, Update
from trainer.algorithms.grpo import Grpo
from trainer.contract.stages.ink_grpo import InkGrpoStage
from trainer.data.batch import TokenBatch
from trainer.data.documents import Document
from trainer.data.rows import Row
from trainer.data.text import render_text
from trainer.sampling.randomness import seed_for, uniform

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.data.feed import DocumentFeed
    from trainer.policy import Policy
    from trainer.rollouts.rollout import Rollout


@dataclass(frozen=True)
class KnowledgeBatch(TokenBatch):
    """Packed documents of the corpus."""

    step_targets: int
    """Targets of all text of the optimiser step."""


class InkGrpo(Grpo):
    stage_class = InkGrpoStage
    stage: InkGrpoStage
    corpus: "DocumentFeed | None" = None
    """None: the stage has none, and never reads."""
    draws: int = 0
    """Coins drawn so far."""

    def open(self) -> None:
        from trainer.data.feed import DocumentFeed, read_documents

        super().open()
        context, stage = self.context, self.stage
        if not stage.corpus:
            return

        def render(row: Row) -> list[Document]:
            return render_text(row["text"], context.policy.tokenizer)

        self.corpus = DocumentFeed(
            [
                read_documents(
                    context.rows[source.dataset],
                    render,
                    context.policy.tokenizer,
                    longest=stage.sequence_length,
                    progress=context.progress,
                )
                for source in stage.corpus
            ],
            stage.corpus,
            field=f"recipe.stages[{context.number}].corpus",
            seed=(context.seed, context.number, CORPUS_STREAM),
            sequences=stage.knowledge_batch_size,
            sequence_length=stage.sequence_length,
            device=context.device,
        )

    def learn_from(self, rollouts: "list[Rollout]", *, part: int) -> Update:
        update = super().learn_from(rollouts, part=part)
        if self.corpus is None:
            return update
        coin = self.draw_coin()
        text = self._read_corpus(self.corpus) if coin else []
        found = {"knowledge/coin": float(bool(text)), **self.corpus.read_tokens("corpus")}
        return Update([*update.micro_batches, *text], {**update.metrics, **found})

    def draw_coin(self) -> bool:
        """The coin of the next optimiser step: the same in every process."""
        self.draws += 1
        seed = seed_for(self.context.seed, f"stage {self.context.number} coin")
        return uniform(seed, self.draws) < self.stage.knowledge_rate

    def loss(self, batch: Any, policy: "Policy", *, targets: int) -> LossTerms:
        if not isinstance(batch, KnowledgeBatch):
            return super().loss(batch, policy, targets=targets)
        nll = policy.summed_nll(batch)
        return LossTerms(
            {"knowledge": self.stage.knowledge_weight * nll / batch.step_targets},
            reported={"knowledge/loss": (nll.item(), float(batch.targets))},
        )

    def state(self) -> dict[str, Any]:
        corpus = self.corpus.state() if self.corpus else None
        return {**super().state(), "corpus": corpus, "draws": self.draws}

    def restore(self, state: dict[str, Any], tensors: "dict[str, Tensor]") -> None:
        super().restore(state, tensors)
        if self.corpus:
            self.corpus.restore(state["corpus"])
        self.draws = state["draws"]

    def notes(self) -> dict[str, Note]:
        found = self.corpus.notes() if self.corpus else {}
        return {**super().notes(), **{f"corpus_{key}": value for key, value in found.items()}}

    def _read_corpus(self, corpus: "DocumentFeed") -> Sequence[KnowledgeBatch]:
        """The text of one optimiser step, in micro-batches of as many sequences as those of rollouts have."""
        stage = self.stage
        size = self.share(stage.batch_size)
        progress = (self.draws - 1) / self.count_steps()
        batches = corpus.flatten(corpus.next_sequences(progress), -(-stage.knowledge_batch_size // size))
        total = sum(batch.targets for batch in batches)
        return [
            KnowledgeBatch(**{one.name: getattr(batch, one.name) for one in fields(batch)}, step_targets=total)
            for batch in batches
        ]


CORPUS_STREAM = 1
"""Keeps the order of the corpus apart from that of the prompts."""
