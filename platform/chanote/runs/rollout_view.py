"""One rollout as the page shows it: tokens with steps of likelihood, rewards as bars, facts of its ending."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chanote.runs.curves import spell_number
from chanote.runs.pages import guess_language
from chanote.runs.rollout_turns import Token, mark_token
from chanote.runs.rollout_words import CUT, REASONS, name_stop, spell_share, step_of
from trainer.contract.rollouts import StoredRollout
from trainer.contract.tool_calls import StoredToolCall

LEGEND = (
    ("", "over 90 %"), ("k1", "50 to 90 %"), ("k2", "20 to 50 %"), ("k3", "5 to 20 %"), ("k4", "1 to 5 %"),
    ("k5", "under 1 %"),
)  # fmt: skip
MOST_TOKENS = 4000
MOST_TOKENS_IN_GROUP = 1200
"""Tokens shown one by one, alone and side by side; the rest follows as plain text."""
TOKENS_PER_PAGE = 500
RARE_SHOWN = 8
SAID = 160
"""Characters of a failed call's output in the list of what went wrong."""
FAULTS: dict[str, str] = {
    "rejected": "was not made as the policy wrote it",
    "error": "ended in an error",
    "timeout": "took too long",
    "oom": "needed too much memory",
    "output_limit": "put out too much",
    "disk_limit": "wrote too much",
    "pids_limit": "started too many processes",
    "killed": "was killed",
    "infra_error": "failed through no fault of the policy",
}


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
    words: str = ""
    """What it said about the value, such as a judge's reply."""

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
    def detail_name(self) -> str:
        """The first of the algorithm's own entries that is a number; empty when none is."""
        return next((name for name, value in self.stored.detail.items() if isinstance(value, float)), "")

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
        tokens=[mark_token(stored, place, text) for place, text in enumerate(stored.tokens[:most])],
        rest="".join(stored.tokens[most:]),
        prompt="".join(stored.prompt),
        parts=[
            Part(
                name,
                value,
                weights.get(name),
                0.0 if value is None else min(100.0, 100 * abs(value) / largest),
                stored.words.get(name, ""),
            )
            for name, value in stored.rewards.items()
        ],
        rare=find_rare(stored),
        trained=sum(stored.trained),
        mean_logprob=sum(known) / len(known) if known else None,
        lang=guess_language(stored.text),
        prompt_lang=guess_language("".join(stored.prompt)),
        stop=name_stop(stored.stop_reason),
        is_cut=stored.stop_reason in CUT,
        broken=any("\ufffd" in token for token in stored.tokens) and "\ufffd" not in stored.text,
    )


@dataclass(frozen=True)
class Reason:
    """Something that went wrong in a rollout; `call` is the number of the call that did, from 0."""

    text: str
    call: int | None = None


def list_reasons(stored: StoredRollout, calls: Sequence[StoredToolCall]) -> list[Reason]:
    """Why a rollout failed, as far as its record tells; empty for one of which nothing went wrong."""
    found = []
    if stored.masked:
        found.append(Reason(f"Gives no gradient: {stored.masked}"))
    if stored.stop_reason in REASONS:
        found.append(Reason(REASONS[stored.stop_reason]))
    for number, call in enumerate(calls):
        if call.status != "ok":
            said = " ".join(call.output[:600].split())
            words = f"{said[:SAID]}…" if len(said) > SAID else said or "it said nothing"
            found.append(
                Reason(f"Call {number + 1}, {call.tool}, {FAULTS.get(call.status, call.status)}: {words}", number)
            )
    if stored.reward is not None and stored.reward <= 0:
        poor = [name.replace("_", " ") for name, value in stored.rewards.items() if value is not None and value <= 0]
        if stored.stop_reason == "answered" and not stored.text.strip():
            found.append(Reason("Its last turn says nothing outside its thoughts."))
        if poor:
            found.append(Reason(f"{_join(poor).capitalize()} gave nothing for the answer."))
    return found


@dataclass(frozen=True)
class TokenLine:
    """A token of the table. Numbers are words here: a colour alone says nothing."""

    place: int
    """Within the completion, from 1."""
    number: int | None
    """In the vocabulary."""
    text: str
    trained: bool
    logprob: float | None
    share: str
    look: str


@dataclass(frozen=True)
class TokenPage:
    lines: list[TokenLine]
    total: int
    before: int | None
    after: int | None


def read_token_page(stored: StoredRollout, start: int) -> TokenPage:
    """Tokens one by one from this place on; the first ones where it is beyond the last."""
    total = len(stored.tokens)
    start = start if start < total else 0
    lines = []
    for place in range(start, min(start + TOKENS_PER_PAGE, total)):
        logprob = stored.logprobs[place] if place < len(stored.logprobs) else None
        lines.append(
            TokenLine(
                place=place + 1,
                number=stored.ids[place] if place < len(stored.ids) else None,
                text=stored.tokens[place],
                trained=stored.trained[place] if place < len(stored.trained) else True,
                logprob=logprob,
                share="" if logprob is None else spell_share(logprob),
                look="" if logprob is None else step_of(logprob),
            )
        )
    end = start + TOKENS_PER_PAGE
    return TokenPage(lines, total, max(0, start - TOKENS_PER_PAGE) if start else None, end if end < total else None)


def _join(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]


def find_rare(stored: StoredRollout) -> list[RareToken]:
    """The tokens that the policy was least likely to sample, the least likely first; only those under one half."""
    known = [
        (logprob, place)
        for place, logprob in enumerate(stored.logprobs[: len(stored.tokens)])
        if logprob is not None and logprob < math.log(0.5)
    ]
    return [
        RareToken(place + 1, stored.tokens[place], logprob, spell_share(logprob))
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
