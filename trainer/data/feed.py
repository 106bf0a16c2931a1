"""Sources of documents → the micro-batches of one optimiser step after the other."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from trainer.data.batch import TokenBatch, flatten
from trainer.data.documents import DocumentStore, Render, TokenizedDocument, tokenize_rows
from trainer.data.mixing import Mixture
from trainer.data.packing import Key, Packer, count_steps
from trainer.data.rows import RowFile
from trainer.failures import InvalidSpec


class DocumentFeed:
    """Mixes documents of several stores by weight and packs them into sequences, without end or for some epochs."""

    def __init__(
        self,
        stores: Sequence[DocumentStore],
        weights: Sequence[float],
        *,
        seed: Sequence[int],
        sequences: int,
        sequence_length: int,
        device: torch.device,
        epochs: float | None = None,
    ) -> None:
        """A feed that counts epochs ends after as many tokens as its stores hold, times the epochs."""
        self.stores = list(stores)
        self._device = device
        self._sequences = sequences
        lengths = [store.lengths_D for store in stores]
        total = sum(int(length_D.sum()) for length_D in lengths)

        def make_packer() -> Packer:
            return Packer(
                Mixture(lengths, weights, seed=seed),
                lambda key: int(lengths[key[0]][key[1]]),
                sequences=sequences,
                sequence_length=sequence_length,
                tokens=math.ceil(epochs * total) if epochs else None,
            )

        self._make_packer = make_packer
        self._packer = make_packer()

    def count_steps(self) -> int:
        """Steps until the feed has no more documents; for one that counts epochs."""
        return count_steps(self._make_packer())

    def next_sequences(self) -> list[list[Key]]:
        return self._packer.next_step()

    def parts(self, key: Key) -> list[TokenizedDocument]:
        """The document as the policy reads it: nearly always one part."""
        return self.stores[key[0]].parts(key[1])

    def flatten(self, sequences: Sequence[Sequence[Key]], micro_batches: int) -> list[TokenBatch]:
        """Shared out evenly over at most so many micro-batches."""
        size = max(1, self._sequences // micro_batches)
        groups = [sequences[start : start + size] for start in range(0, len(sequences), size)]
        return [
            flatten([part for sequence in group for key in sequence for part in self.parts(key)], device=self._device)
            for group in groups
        ]

    def state(self) -> dict[str, Any]:
        return self._packer.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._packer.restore(state)

    def notes(self) -> dict[str, str | int | float | bool]:
        too_long = sum(store.too_long for store in self.stores)
        tokens = sum(len(store.ids_N) for store in self.stores)
        trained = sum(store.targets for store in self.stores)
        return {
            "rows": sum(store.rows for store in self.stores),
            "documents": sum(len(store) for store in self.stores),
            "tokens": tokens,
            "trained_share": round(trained / tokens, 4),
            "cut_rows": sum(store.cut for store in self.stores),
            "rows_without_targets": sum(store.untaught for store in self.stores),
            **({"rows_too_long": too_long} if too_long else {}),
        }


def read_documents(
    rows: RowFile,
    render: Render,
    tokenizer: Any,
    *,
    longest: int,
    may_cut: bool = True,
    progress: Callable[[str, int, int], None],
) -> DocumentStore:
    """The documents of a dataset; raises InvalidSpec when none has a token to train on."""
    store = tokenize_rows(
        rows,
        render,
        tokenizer,
        longest=longest,
        may_cut=may_cut,
        progress=lambda done: progress(f"tokenising {rows.name}", done, len(rows)),
    )
    if not len(store):
        raise InvalidSpec(f"datasets.{rows.name}: no row has a token to train on; choose another dataset.")
    return store
