"""The teacher: a frozen model that says, at every token the student writes, what it would have written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.contract.spec import RunSpec
from trainer.data.batch import TokenizedDocument, flatten
from trainer.failures import InvalidSpec
from trainer.inputs import check_model, compare_tokens
from trainer.losses import IGNORED, token_logprobs
from trainer.policy import Policy, load_policy


@dataclass(frozen=True)
class Teacher:
    """Hidden states instead of logits are what is kept of it: J numbers a token in place of a whole vocabulary."""

    policy: Policy
    vocabulary: int
    """The first entries of both heads that are tokens; what follows in either is padding."""

    @property
    def weight_UJ(self) -> Tensor:
        weight: Tensor = self.policy.model.get_output_embeddings().weight
        return weight

    @torch.no_grad()
    def read(self, documents: Sequence[TokenizedDocument], *, documents_at_once: int) -> list[Tensor]:
        """Per document the hidden states (K, J) from which its targets are predicted, in their order.

        The documents' prompts may be others than the student's; what counts is that their targets are the same.
        """
        return [state_KJ for state_KJ, _ in self._read(documents, documents_at_once)]

    @torch.no_grad()
    def score(
        self, documents: Sequence[TokenizedDocument], *, documents_at_once: int, temperature: float
    ) -> list[Tensor]:
        """Per document the log-probabilities (K,) of its targets."""
        weight_UJ = self.weight_UJ[: self.vocabulary]
        return [
            token_logprobs(state_KJ, weight_UJ, labels_K, temperature=temperature)
            for state_KJ, labels_K in self._read(documents, documents_at_once)
        ]

    def _read(self, documents: Sequence[TokenizedDocument], documents_at_once: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(documents), documents_at_once):
            batch = flatten(documents[start : start + documents_at_once], device=self.policy.device)
            target_N = batch.labels_N != IGNORED
            counts = [int(part.sum()) for part in target_N.split(batch.document_lengths)]
            states = self.policy.hidden(batch)[target_N].split(counts)
            yield from zip(states, batch.labels_N[target_N].split(counts), strict=True)


def open_teacher(spec: RunSpec, name: str, student: Policy, *, field: str) -> Teacher:
    """Load the model that `field` of the recipe names; raises InvalidSpec unless it has the student's tokens."""
    directory = check_model(spec.models[name], field=f"models.{name}", title=f"model {name}")
    policy = load_policy(directory, device=student.device, field=f"models.{name}.path")
    mine = student.tokenizer.get_vocab()
    if reason := compare_tokens(mine, policy.tokenizer.get_vocab(), name=name):
        raise InvalidSpec(f"{field}: {reason}")
    policy.train_on_documents()
    policy.model.eval().requires_grad_(False)
    heads = (len(model.model.get_output_embeddings().weight) for model in (student, policy))
    return Teacher(policy, vocabulary=min(max(mine.values()) + 1, *heads))
