"""One rollout as the page shows it: tokens with steps of likelihood, rewards as bars, facts of its ending."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chanote.runs.curves import spell_number
from chanote.runs.pages import guess_language
from chanote.runs.rollout_list import CUT, STOPS
from trainer.contract.rollouts import StoredRollout

LEVELS = ((0.9, ""), (0.5, "k1"), (0.2, "k2"), (0.05, "k3"), (0.01, "k4"), (0.0, "k5"))
"""Lowest probability of a step and the class that marks it; the likeliest tokens stay plain."""
LEGEND = (
    ("", "over 90 %"), ("k1", "50 to 90 %"), ("k2", "20 to 50 %"), ("k3", "5 to 20 %"), ("k4", "1 to 5 %"),
    ("k5", "under 1 %"),
)  # fmt: skip
MOST_TOKENS = 4000
MOST_TOKENS_IN_GROUP = 1200
"""Tokens shown one by one, alone and side by side; the rest follows as plain text."""
RARE_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    look: str
    """Class of its likelihood; `is-masked` when it gives no gradient."""
    title: str = ""


@dataclass(frozen=True)
class RareToken:
    place: int
    """Within the completion, from 1."""
    text: str
    logprob: float
    share: str


@dataclass(frozen=True)
class Part:
    """A component of the reward. `bar` runs from 0 to 100 along the largest component of the group."""

    name: str
    value: float | None
    weight: float | None
    bar: float

    @property
    def is_negative(self) -> bool:
        return self.value is not None and self.value < 0


@dataclass(frozen=True)
class RolloutView:
    stored: StoredRollout
    tokens: list[Token]
    rest: str
    """Text of the tokens beyond those shown one by one."""
    prompt: str
    parts: list[Part]
    rare: list[RareToken]
    trained: int
    mean_logprob: float | None
    lang: str
    prompt_lang: str
    stop: str
    is_cut: bool
    broken: bool
    """A character is spread over several tokens, so that the tokens alone cannot show it."""

    @property
    def place(self) -> str:
        return f"{self.stored.group}.{self.stored.index}"

    @property
    def length(self) -> int:
        return len(self.stored.tokens)

    @property
    def facts(self) -> list[tuple[str, Any]]:
        return [
            (name.replace("_", " ").capitalize(), _word(value))
            for name, value in self.stored.detail.items()
            if value is not None
        ]


def _word(value: float | int | str | bool) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return spell_number(value) if isinstance(value, float) else value


def view_group(rollouts: Sequence[StoredRollout], *, weights: Mapping[str, float], most: int) -> list[RolloutView]:
    """Rollouts of one prompt with bars on one scale."""
    sizes = [abs(value) for one in rollouts for value in one.rewards.values() if value is not None]
    largest = max([1.0, *(size for size in sizes if math.isfinite(size))])
    return [view_rollout(one, weights=weights, most=most, largest=largest) for one in rollouts]


def view_rollout(
    stored: StoredRollout, *, weights: Mapping[str, float], most: int = MOST_TOKENS, largest: float = 1.0
) -> RolloutView:
    known = [one for one in stored.logprobs if one is not None]
    return RolloutView(
        stored=stored,
        tokens=mark_tokens(stored, most),
        rest="".join(stored.tokens[most:]),
        prompt="".join(stored.prompt),
        parts=[
            Part(name, value, weights.get(name), 0.0 if value is None else min(100.0, 100 * abs(value) / largest))
            for name, value in stored.rewards.items()
        ],
        rare=find_rare(stored),
        trained=sum(stored.trained),
        mean_logprob=sum(known) / len(known) if known else None,
        lang=guess_language(stored.text),
        prompt_lang=guess_language("".join(stored.prompt)),
        stop=STOPS.get(stored.stop_reason, stored.stop_reason.replace("_", " ")),
        is_cut=stored.stop_reason in CUT,
        broken=any("\ufffd" in token for token in stored.tokens) and "\ufffd" not in stored.text,
    )


def mark_tokens(stored: StoredRollout, most: int) -> list[Token]:
    """Each token with the step of its likelihood. Lists of unequal length are read as far as the tokens go."""
    tokens = []
    for place, text in enumerate(stored.tokens[:most]):
        trained = stored.trained[place] if place < len(stored.trained) else True
        logprob = stored.logprobs[place] if place < len(stored.logprobs) else None
        if not trained:
            tokens.append(Token(text, "is-masked", "not trained"))
        elif logprob is None:
            tokens.append(Token(text, ""))
        else:
            tokens.append(Token(text, step_of(logprob), f"{word_logprob(logprob)}, {word_share(logprob)}"))
    return tokens


def step_of(logprob: float) -> str:
    probability = math.exp(min(logprob, 0.0))
    return next((look for lowest, look in LEVELS if probability >= lowest), LEVELS[-1][1])


def word_logprob(logprob: float) -> str:
    return f"{logprob:.3f}".replace("-", "\N{MINUS SIGN}")


def word_share(logprob: float) -> str:
    share = 100 * math.exp(min(logprob, 0.0))
    return f"{share:.0f} %" if share >= 9.95 else f"{share:.2g} %" if share >= 0.001 else "under 0.001 %"


def find_rare(stored: StoredRollout) -> list[RareToken]:
    """The tokens that the policy was least likely to sample, the least likely first; only those under one half."""
    known = [
        (logprob, place)
        for place, logprob in enumerate(stored.logprobs[: len(stored.tokens)])
        if logprob is not None and logprob < math.log(0.5)
    ]
    return [
        RareToken(place + 1, stored.tokens[place], logprob, word_share(logprob))
        for logprob, place in sorted(known)[:RARE_SHOWN]
    ]


def read_weights(snapshot: Mapping[str, Any], stage: int) -> dict[str, float]:
    """Weights of the rewards of a stage by the name of the component, as far as the frozen recipe tells them."""
    stages = snapshot.get("recipe", {}).get("stages", [])
    if not 0 <= stage < len(stages):
        return {}
    weights = {}
    for reward in stages[stage].get("rewards") or []:
        if isinstance(reward, Mapping) and isinstance(reward.get("weight", 1.0), int | float):
            weights[str(reward.get("name") or reward.get("kind"))] = float(reward.get("weight", 1.0))
    return weights
