"""What the nine steps share: who is asked, where functions run, what earlier steps kept."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from chanote.building.asking import ask_each
from chanote.building.autoif.config import AutoIfConfig
from chanote.building.endpoint import ChatEndpoint, Question, Reply
from chanote.building.funnel import Funnel, Item, Step
from chanote.building.sandbox import FunctionSandbox

Asked = TypeVar("Asked")
SEEDS_EACH = 100_003
"""Between the seeds that two builds with neighbouring seeds send to the endpoint."""


@dataclass(frozen=True)
class AutoIf:
    config: AutoIfConfig
    teacher: ChatEndpoint
    judge: ChatEndpoint
    sandbox: FunctionSandbox
    funnel: Funnel
    leave_if_asked: Callable[[], None]

    def draw(self, purpose: str) -> random.Random:
        """A generator for one purpose, the same after every restart."""
        return random.Random(f"{self.config.seed} {purpose}")

    def question(
        self, text: str, *, sample: int = 0, temperature: float, max_tokens: int, system: str = ""
    ) -> Question:
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": text})
        seed = (self.config.seed * SEEDS_EACH + sample) % 2**31
        return Question(tuple(messages), sample=sample, temperature=temperature, max_tokens=max_tokens, seed=seed)

    def ask_each(self, client: ChatEndpoint, asked: Iterable[tuple[Asked, Question]]) -> Iterator[tuple[Asked, Reply]]:
        return ask_each(client, asked, leave_if_asked=self.leave_if_asked)

    def items(self, step: Step) -> list[Item]:
        """What a step that is done has kept."""
        return list(self.funnel.read_kept(step))


def without(item: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in names}
