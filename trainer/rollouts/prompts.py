"""Rows → prompts in token ids, drawn without end."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.contract.mixture import MixtureSource
from trainer.data.mixing import Mixture, MixtureEmpty
from trainer.data.rows import Row, RowFile
from trainer.failures import InvalidSpec, RunFailed

RenderPrompt = Callable[[Row], str]


@dataclass(frozen=True)
class Prompt:
    name: str
    """Dataset and row number, `name@version#12`, rows counted from 0."""
    row: Row
    ids: tuple[int, ...]
    text: str
    """As the policy sees it, template and all."""


def asked_messages(row: Row, system_prompt: str) -> list[dict[str, Any]]:
    """The conversation that the policy is to answer: a question, or a chat up to its last answer."""
    if "question" in row:
        messages = [{"role": "user", "content": row["question"]}]
    else:
        messages = list(row["messages"])
        while messages and messages[-1]["role"] == "assistant":
            messages.pop()
        if not messages:
            raise ValueError("it has no turn before the answer")
    if system_prompt and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system_prompt}, *messages]
    return messages


class PromptStore:
    """Prompts of one dataset: token ids in a flat array, rows on disk."""

    def __init__(
        self,
        rows: RowFile,
        render: RenderPrompt,
        tokenizer: Any,
        *,
        longest: int,
        drop: bool,
        path: str,
        progress: Callable[[str, int, int], None],
    ) -> None:
        """Raises InvalidSpec when prompts are longer than `longest` tokens, unless they are to be dropped, and when
        none is left; `path` is the field of the recipe that sets the length.
        """
        self.rows = rows
        self.render = render
        self.numbers = array("q")
        """Rows whose prompts are kept."""
        self._ids, self._starts = array("i"), array("q", [0])
        self.dropped = 0
        longest_seen, first = 0, -1
        for number, row in enumerate(rows):
            ids = tokenizer(self._render(number, row), add_special_tokens=False)["input_ids"]
            if len(ids) > longest:
                longest_seen, first = max(longest_seen, len(ids)), number if first < 0 else first
                self.dropped += 1
                continue
            self.numbers.append(number)
            self._ids.extend(ids)
            self._starts.append(len(self._ids))
            progress(f"tokenising {rows.name}", number + 1, len(rows))
        if self.dropped and not drop:
            raise InvalidSpec(
                f"{path}: {self.dropped} of {len(rows)} prompts of {rows.name} (the first is row {first + 1}, the "
                f"longest has {longest_seen} tokens) leave no room for the longest completion, prompts may have "
                f"{longest} tokens; raise sequence_length, lower sampling.max_new_tokens, or set long_prompts to drop."
            )
        if not self.numbers:
            raise InvalidSpec(f"datasets.{rows.name}: no prompt is left to be answered; choose another dataset.")

    def __len__(self) -> int:
        return len(self.numbers)

    def prompt(self, place: int) -> Prompt:
        number = self.numbers[place]
        row = self.rows[number]
        ids = tuple(self._ids[self._starts[place] : self._starts[place + 1]])
        return Prompt(name=f"{self.rows.name}#{number}", row=row, ids=ids, text=self.render(row))

    def count_tokens(self) -> int:
        return len(self._ids)

    def _render(self, number: int, row: Row) -> str:
        try:
            return self.render(row)
        except KeyError as error:
            raise InvalidSpec(f"datasets.{self.rows.name}: row {number + 1} has no field {error}.") from error
        except (IndexError, TypeError, ValueError) as error:
            raise InvalidSpec(f"datasets.{self.rows.name}: row {number + 1} cannot be rendered: {error}") from error


class PromptFeed:
    """Draws prompts of several stores by weight, each store shuffled anew for every pass."""

    def __init__(self, stores: Sequence[PromptStore], sources: Sequence[MixtureSource], *, seed: Sequence[int]) -> None:
        self.stores = list(stores)
        self.progress = 0.0
        """Share of the stage that is done; whoever begins a round sets it."""
        self._sources = list(sources)
        self._mixture = Mixture([np.ones(len(store), np.int64) for store in stores], sources, seed=seed)
        self._drawn = [0] * len(self.stores)

    def __len__(self) -> int:
        """Prompts of one pass."""
        return self._mixture.size

    def check_caps(self, wanted: int, *, field: str) -> None:
        """Raises InvalidSpec when the caps leave fewer prompts than are wanted; `field` names the sources."""
        if not all(source.max_passes is not None for source in self._sources):
            return
        most = sum(
            max(1, int((source.max_passes or 0.0) * min(len(store), source.max_rows or len(store))))
            for source, store in zip(self._sources, self.stores, strict=True)
        )
        if most < wanted:
            raise InvalidSpec(
                f"{field}: the caps leave {most} of the {wanted} prompts that the stage wants; raise max_passes of a "
                "source, or lower steps."
            )

    def draw(self, count: int) -> list[Prompt]:
        """The next prompts; raises RunFailed where the caps leave none."""
        return [self.stores[source].prompt(place) for source, place in (self._draw() for _ in range(count))]

    def drawn_prompts(self) -> dict[str, float]:
        """Prompts drawn of each source up to now, as metrics; nothing where there is one."""
        found: dict[str, float] = {}
        if len(self.stores) > 1:
            for store, drawn in zip(self.stores, self._drawn, strict=True):
                key = f"mixture/data/{store.rows.name}/prompts"
                found[key] = found.get(key, 0.0) + drawn
        return found

    def state(self) -> dict[str, Any]:
        return {**self._mixture.state(), "drawn": list(self._drawn)}

    def restore(self, state: dict[str, Any]) -> None:
        self._mixture.restore(state)
        self._drawn = list(state["drawn"])

    def _draw(self) -> tuple[int, int]:
        try:
            key = self._mixture.draw(self.progress)
        except MixtureEmpty:
            key = None
        if key is None:
            raise RunFailed(
                f"the mixture of prompts has nothing left to draw at {self.progress:.4g} of the stage, since its "
                "sources have reached their caps; start a new run with a larger max_passes."
            )
        self._drawn[key[0]] += 1
        return key
