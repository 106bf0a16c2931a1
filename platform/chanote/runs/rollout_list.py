"""Which rollouts of a step a reader asked for, in which order, and their groups: one pass over the file."""

import math
import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chanote.runs.models import RolloutFile
from chanote.runs.rollout_files import StoredRollouts
from trainer.contract.rollouts import StoredRollout

PER_PAGE = 40
MOST_LISTED = 20_000
"""Of more rollouts in one step only the first are ordered and listed, so that memory stays bounded."""
EXCERPT = 140
CUT = frozenset({"length", "context"})
"""Stop reasons that mean that the completion did not end by itself."""
STOPS = {
    "end_token": "ended by itself",
    "stop_string": "ended at a stop string",
    "length": "cut at the length limit",
    "context": "cut where the context is full",
    "interrupted": "interrupted",
}
SORTS: dict[str, tuple[str, Callable[["Line"], float | None]]] = {
    "reward": ("Reward", lambda line: line.reward),
    "length": ("Length", lambda line: line.tokens),
    "advantage": ("Advantage", lambda line: line.advantage),
    "detail": ("Detail", lambda line: line.detail),
}
_TAGS = re.compile(r"<\|[^|>]{0,60}\|>|</?(?:s|think|answer)>|<(?:bos|eos|pad)>")
_ROLE = re.compile(r"^\s*(?:system|user|assistant|tool)\s*(?:\n|$)")


@dataclass(frozen=True)
class RolloutWish:
    """Filters and order of the list. `low` and `high` are rewards."""

    words: str = ""
    gradient: str = ""
    """`masked`, `trained`, or any."""
    ending: str = ""
    """`cut`, `whole`, or any."""
    low: float | None = None
    high: float | None = None
    sort: str = ""
    """Of SORTS; empty: the order of the file, which keeps groups together."""
    descending: bool = False

    @property
    def is_filtered(self) -> bool:
        return bool(self.words or self.gradient or self.ending) or self.low is not None or self.high is not None

    def admits(self, rollout: StoredRollout) -> bool:
        if self.gradient and bool(rollout.masked) != (self.gradient == "masked"):
            return False
        if self.ending and (rollout.stop_reason in CUT) != (self.ending == "cut"):
            return False
        if self.low is not None and (rollout.reward is None or rollout.reward < self.low):
            return False
        if self.high is not None and (rollout.reward is None or rollout.reward > self.high):
            return False
        return not self.words or self._finds(rollout)

    def _finds(self, rollout: StoredRollout) -> bool:
        words = self.words.casefold()
        texts = (rollout.text, rollout.reference, rollout.row, rollout.masked, "".join(rollout.prompt))
        return any(words in text.casefold() for text in texts)


def read_rollout_wish(query: Mapping[str, str]) -> RolloutWish:
    """What the address asks for; what it cannot mean is passed over."""
    sort = query.get("sort", "")
    gradient, ending = query.get("gradient", ""), query.get("ending", "")
    return RolloutWish(
        words=query.get("q", "").strip()[:200],
        gradient=gradient if gradient in {"masked", "trained"} else "",
        ending=ending if ending in {"cut", "whole"} else "",
        low=_read_reward(query.get("low", "")),
        high=_read_reward(query.get("high", "")),
        sort=sort.lstrip("-") if sort.lstrip("-") in SORTS else "",
        descending=sort.startswith("-"),
    )


def _read_reward(text: str) -> float | None:
    try:
        value = float(text[:40].replace("\N{MINUS SIGN}", "-").replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Line:
    """A rollout in the list, without its tokens."""

    group: int
    index: int
    row: str
    prompt: str
    answer: str
    tokens: int
    reward: float | None
    advantage: float | None
    stop_reason: str
    masked: str
    detail: float | None
    """The first number that the algorithm added, such as the divergence from the teacher."""

    @property
    def is_cut(self) -> bool:
        return self.stop_reason in CUT

    @property
    def place(self) -> str:
        return f"{self.group}.{self.index}"


@dataclass
class GroupFacts:
    """What the rewards of one prompt's rollouts say together."""

    group: int
    count: int = 0
    rewards: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        return sum(self.rewards) / len(self.rewards) if self.rewards else None

    @property
    def deviation(self) -> float | None:
        """Over one less than their number, as the advantage takes it."""
        if self.mean is None:
            return None
        return statistics.stdev(self.rewards) if len(self.rewards) > 1 else 0.0

    @property
    def teaches_nothing(self) -> bool:
        """Rewards that all agree give an advantage of zero to each."""
        return len(self.rewards) > 1 and max(self.rewards) == min(self.rewards)


@dataclass
class StepList:
    """The rollouts of a step as they were asked for."""

    lines: list[Line]
    groups: dict[int, GroupFacts]
    total: int
    """Rollouts that could be read."""
    equal_groups: int
    fault: str
    has_rewards: bool
    detail: str
    """What the lines' detail is called; empty when there is none."""


def list_step(file: RolloutFile, wish: RolloutWish) -> StepList:
    lines: list[Line] = []
    groups: dict[int, GroupFacts] = {}
    rollouts = StoredRollouts(file)
    admitted = 0
    has_rewards, detail = False, ""
    for rollout in rollouts:
        has_rewards = has_rewards or bool(rollout.rewards) or rollout.reward is not None
        detail = detail or name_detail(rollout)
        facts = groups.setdefault(rollout.group, GroupFacts(rollout.group))
        facts.count += 1
        if rollout.reward is not None:
            facts.rewards.append(rollout.reward)
        if wish.admits(rollout):
            admitted += 1
            if len(lines) < MOST_LISTED:
                lines.append(make_line(rollout))
    fault = rollouts.fault
    if admitted > len(lines):
        fault = fault or f"{admitted:,} rollouts match; the first {MOST_LISTED:,} are listed."
    equal = sum(one.teaches_nothing for one in groups.values())
    return StepList(put_in_order(lines, wish), groups, rollouts.read, equal, fault, has_rewards, detail)


def put_in_order(lines: list[Line], wish: RolloutWish) -> list[Line]:
    """By the wished number, those without one last whatever the direction; else as in the file."""
    if not wish.sort:
        return lines[::-1] if wish.descending else lines
    number = SORTS[wish.sort][1]
    known = [line for line in lines if number(line) is not None]
    known.sort(key=lambda line: number(line) or 0.0, reverse=wish.descending)
    return known + [line for line in lines if number(line) is None]


def make_line(rollout: StoredRollout) -> Line:
    return Line(
        group=rollout.group,
        index=rollout.index,
        row=rollout.row,
        prompt=excerpt_question("".join(rollout.prompt)),
        answer=excerpt(rollout.text),
        tokens=len(rollout.tokens),
        reward=rollout.reward,
        advantage=rollout.advantage,
        stop_reason=rollout.stop_reason,
        masked=rollout.masked,
        detail=read_detail(rollout),
    )


def name_detail(rollout: StoredRollout) -> str:
    """The first of the algorithm's own entries that is a number; empty when none is."""
    return next((name for name, value in rollout.detail.items() if isinstance(value, float)), "")


def read_detail(rollout: StoredRollout) -> float | None:
    value = rollout.detail.get(name_detail(rollout))
    return value if isinstance(value, float) else None


def excerpt(text: str) -> str:
    """The beginning of the text in one line, without control tokens."""
    flat = " ".join(_TAGS.sub(" ", text[:2000]).split())
    return flat if len(flat) <= EXCERPT else f"{flat[:EXCERPT]}…"


def excerpt_question(prompt: str) -> str:
    """The last thing said in a prompt, whatever its template: what stands after its last control token but one."""
    parts = [_ROLE.sub("", part).strip() for part in _TAGS.split(prompt)]
    return excerpt(next((part for part in reversed(parts) if part), ""))
