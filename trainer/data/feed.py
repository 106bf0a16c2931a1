"""Sources of documents → the micro-batches of one optimiser step after the other."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from trainer.contract.mixture import MixtureSource
from trainer.data.batch import TokenBatch, flatten
from trainer.data.documents import DocumentStore, Render, TokenizedDocument, tokenize_rows
from trainer.data.mixing import Key, Mixture, MixtureEmpty
from trainer.data.packing import Packer, count_steps
from trainer.data.rows import RowFile
from trainer.failures import InvalidSpec


class DocumentFeed:
    """Mixes documents of several stores by weight and packs them into sequences, without end or for some epochs."""

    def __init__(
        self,
        stores: Sequence[DocumentStore],
        sources: Sequence[MixtureSource],
        *,
        field: str,
        seed: Sequence[int],
        sequences: int,
        sequence_length: int,
        device: torch.device,
        epochs: float | None = None,
    ) -> None:
        """A feed that counts epochs ends after as many tokens as its stores hold, times the epochs; of a store only the
        rows that may be used count. `field` is where the recipe has the sources, such as `recipe.stages[0].data`.
        """
        self.stores = list(stores)
        self.sources = list(sources)
        self._field = field
        self._device = device
        self._sequences = sequences
        lengths = [store.lengths_D for store in stores]
        total = Mixture(lengths, sources, seed=seed).size
        self._read = [0] * len(self.stores)

        def make_packer() -> Packer:
            return Packer(
                Mixture(lengths, sources, seed=seed),
                lambda key: int(lengths[key[0]][key[1]]),
                sequences=sequences,
                sequence_length=sequence_length,
                tokens=math.ceil(epochs * total) if epochs else None,
            )

        self._make_packer = make_packer
        self._packer = make_packer()

    def count_steps(self, wanted: int | None = None) -> int:
        """Steps of the stage: those wanted or, without, as many as the epochs give.

        Raises InvalidSpec when the mixture has nothing left to draw before them, or before a later source enters.
        """
        if wanted is not None and not any(source.capped for source in self.sources):
            return wanted
        try:
            steps = count_steps(self._make_packer(), wanted=wanted)
        except MixtureEmpty as empty:
            raise InvalidSpec(
                f"{self._field}: {empty}, since all sources that have entered have reached their caps; raise "
                "max_tokens or max_passes of one, or let the next one enter earlier."
            ) from empty
        if wanted is not None and steps < wanted:
            raise InvalidSpec(
                f"{self._field}: the caps leave enough to draw for {steps} of the {wanted} steps; raise max_tokens or "
                "max_passes of a source, or lower steps."
            )
        return steps

    def next_sequences(self, progress: float = 0.0) -> list[list[Key]]:
        """The documents of a step; `progress` is the share of the stage's steps that are made."""
        sequences = self._packer.next_step(progress)
        for key in (key for sequence in sequences for key in sequence):
            self._read[key[0]] += int(self.stores[key[0]].lengths_D[key[1]])
        return sequences

    def read_tokens(self, name: str) -> dict[str, float]:
        """Tokens read from each source up to now, as metrics under `mixture/<name>`; nothing where there is one."""
        found: dict[str, float] = {}
        if len(self.stores) > 1:
            for store, tokens in zip(self.stores, self._read, strict=True):
                key = f"mixture/{name}/{store.name}/tokens"
                found[key] = found.get(key, 0.0) + tokens
        return found

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
        return {**self._packer.state(), "read": list(self._read)}

    def restore(self, state: dict[str, Any]) -> None:
        self._packer.restore(state)
        self._read = list(state["read"])

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
