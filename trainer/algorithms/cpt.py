"""Continued pretraining: next-token likelihood of raw text.

    L = −(1/N) Σ_d Σ_{t≥2} log π(x_{d,t} | x_{d,<t})

over the documents d of an optimiser step, N their targets in all. Each document ends with the end-of-document token
and is conditioned on nothing but itself. Objective: Radford et al. 2018, "Improving language understanding by
generative pre-training", equation 1, with documents kept apart; continued on domain text as in Gururangan et al. 2020,
arXiv:2004.10964.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trainer.algorithms.base import LossTerms, Progress
from trainer.algorithms.documents import DocumentAlgorithm
from trainer.contract.stages.cpt import CptStage
from trainer.data.documents import Document
from trainer.data.rows import Row, RowFile
from trainer.data.text import render_text

if TYPE_CHECKING:
    import torch

    from trainer.data.batch import TokenBatch
    from trainer.policy import Policy


class Cpt(DocumentAlgorithm):
    stage_class = CptStage
    stage: CptStage

    def make_policy(
        self, sources: Sequence[RowFile], *, seed: int, device: "torch.device", progress: Progress
    ) -> "Policy | None":
        """With `initialise`: a tokenizer trained on the stage's own text and random weights."""
        from trainer.policy import initialise_policy
        from trainer.tokenizer import train_tokenizer

        shape = self.stage.initialise
        if shape is None:
            return None
        tokenizer = train_tokenizer(
            _texts(sources, progress), vocab_size=shape.tokenizer.vocab_size, context_length=shape.context_length
        )
        return initialise_policy(shape, tokenizer, seed=seed, device=device)

    def render(self, row: Row, policy: "Policy") -> list[Document]:
        return render_text(row["text"], policy.tokenizer)

    def loss(self, batch: "TokenBatch", policy: "Policy", *, targets: int) -> LossTerms:
        return LossTerms({"nll": policy.summed_nll(batch) / max(1, targets)})

    def notes(self) -> dict[str, str | int | float | bool]:
        return {"loss_on": "every token after a document's first", "initialised": self.stage.initialise is not None}


def _texts(sources: Sequence[RowFile], progress: Progress) -> Iterator[str]:
    total, done = sum(len(rows) for rows in sources), 0
    for rows in sources:
        for row in rows:
            yield row["text"]
            done += 1
            progress("training the tokenizer", done, total)
