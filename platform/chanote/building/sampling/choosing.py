"""Which of several answers to a prompt become data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from chanote.building.funnel import Item

Rule = Literal["all", "best", "shortest_correct", "best_and_worst"]


@dataclass(frozen=True)
class Sampled:
    """One answer with what it is worth."""

    number: int
    """Which of the samples, from 0."""
    text: str
    length: int
    """In tokens where the server counted all answers of the prompt, otherwise in characters."""
    reward: float | None = None
    components: dict[str, float | None] = field(default_factory=dict)
    fault: str = ""
    """Why it could not be valued."""


@dataclass(frozen=True)
class Choice:
    """What becomes of one prompt."""

    kept: Sequence[Sampled]
    """Best first; of a pair the chosen and the rejected one."""
    left: Sequence[tuple[Sampled, str]]
    """The others, each with its reason."""


def choose(answers: Sequence[Sampled], rule: Rule, *, least: float | None, difference: float = 0.0) -> Choice:
    """Among answers of equal worth the shorter one wins, then the earlier one: nothing is left to chance.

    `least` is the reward that an answer must reach; None: any. `difference` must lie between the two of a pair.
    """
    valued = [one for one in answers if one.reward is not None or not one.fault]
    left = [(one, "could not be valued") for one in answers if one not in valued]
    ranked = sorted(valued, key=lambda one: (-(one.reward or 0.0), one.length, one.number))
    good = [one for one in ranked if least is None or (one.reward or 0.0) >= least]
    poor = [(one, "its reward is too low") for one in ranked if one not in good]
    if rule == "all":
        return Choice(good, [*left, *poor])
    if rule == "best_and_worst":
        return _choose_pair(ranked, left, least=least, difference=difference)
    if rule == "shortest_correct":
        good = sorted(good, key=lambda one: (one.length, -(one.reward or 0.0), one.number))
        word = "a shorter one is right too"
    else:
        word = "a better or shorter one was chosen"
    return Choice(good[:1], [*left, *poor, *((one, word) for one in good[1:])])


def _choose_pair(
    ranked: Sequence[Sampled], left: list[tuple[Sampled, str]], *, least: float | None, difference: float
) -> Choice:
    if len(ranked) < 2:
        return Choice([], [*left, *((one, "no second answer to compare with") for one in ranked)])
    best, worst = ranked[0], ranked[-1]
    high, low = best.reward or 0.0, worst.reward or 0.0
    if least is not None and high < least:
        return Choice([], [*left, *((one, "its reward is too low") for one in ranked)])
    if high - low <= difference or best.text == worst.text:
        return Choice([], [*left, *((one, "best and worst are worth the same") for one in ranked)])
    return Choice([best, worst], [*left, *((one, "neither the best nor the worst") for one in ranked[1:-1])])


def read_answers(item: Item) -> list[Sampled]:
    """The answers of an item that was sampled, not yet valued. Equal ones count once."""
    counted = all(one["counted"] for one in item["answers"])
    found: dict[str, Sampled] = {}
    for one in item["answers"]:
        length = one["tokens"] if counted else len(one["text"])
        found.setdefault(one["text"], Sampled(one["number"], one["text"], length))
    return list(found.values())
