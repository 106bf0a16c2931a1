"""Algorithms that train on rows of datasets: each row becomes documents, documents are packed into batches."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from trainer.algorithms.base import Algorithm, LossTerms, Note, Update

if TYPE_CHECKING:
    from trainer.data.batch import TokenBatch
    from trainer.data.documents import Document, DocumentStore
    from trainer.data.feed import DocumentFeed
    from trainer.data.rows import Row
    from trainer.policy import Policy


class DocumentAlgorithm(Algorithm):
    """Asks for `render` and `loss`. Packing, mixing, epochs, micro-batches and held-out loss follow from these."""

    may_cut: ClassVar[bool] = True
    """Whether a document that is longer than a sequence loses its end; otherwise it is left out. Both are counted."""
    feed: "DocumentFeed"
    held_out: "list[DocumentStore]"

    @abstractmethod
    def render(self, row: "Row", policy: "Policy") -> "list[Document]":
        """Documents of one row; no document ever sees another."""

    @abstractmethod
    def loss(self, batch: "TokenBatch", policy: "Policy", *, targets: int) -> LossTerms:
        """Share of the step's loss, see `Algorithm.loss`."""

    def open(self) -> None:
        from trainer.data.feed import DocumentFeed, read_documents

        def read(field: str) -> "list[DocumentStore]":
            return [
                read_documents(
                    self.context.rows[source.dataset],
                    partial(self.render, policy=self.context.policy),
                    self.context.policy.tokenizer,
                    longest=self.stage.sequence_length,
                    may_cut=self.may_cut,
                    progress=self.context.progress,
                )
                for source in getattr(self.stage, field)
            ]

        self.feed = DocumentFeed(
            read("data"),
            self.stage.data,
            field=f"recipe.stages[{self.context.number}].data",
            seed=(self.context.seed, self.context.number),
            sequences=self.stage.batch_size,
            sequence_length=self.stage.sequence_length,
            epochs=self.stage.epochs,
            device=self.context.device,
        )
        self.held_out = read("held_out")

    def count_steps(self) -> int:
        return self.feed.count_steps(self.stage.steps)

    def collect(self, step: int) -> Sequence[Update]:
        from trainer.data.show import show_documents

        sequences = self.feed.next_sequences((step - 1) / self.stage.steps if self.stage.steps else 0.0)
        if step == 1:
            keys = [key for sequence in sequences for key in sequence]
            show_documents(self.context, [part for key in keys for part in self.feed.parts(key)])
        return [Update(self.feed.flatten(sequences, self.micro_batches), self.feed.read_tokens("data"))]

    def measure(self) -> dict[str, float]:
        from trainer.measure import measure_held_out

        values: dict[str, float] = {}
        for store in self.held_out:
            measured = measure_held_out(
                store,
                self,
                self.context.policy,
                tokens_at_once=self.stage.sequence_length * (self.stage.batch_size // self.stage.gradient_accumulation),
                progress=partial(self.context.progress, f"held-out loss on {store.name}"),
            )
            values |= {f"held_out/{store.name}/{key}": value for key, value in measured.items()}
        return values

    def state(self) -> dict[str, Any]:
        return {"feed": self.feed.state()}

    def restore(self, state: dict[str, Any], tensors: dict[str, Any]) -> None:
        self.feed.restore(state["feed"])

    def source_notes(self) -> dict[str, Note]:
        return self.feed.notes()
