"""Which rollouts of a step a person should look at: a high reward that was perhaps not earned. Pure functions.

Every rule compares a rollout with the others of its own step, which one policy sampled for one kind of reward. A rule
that has too little to compare with says nothing.
"""

import json
import math
import statistics
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EDITION = 1
"""Raised with every change of a rule, so that files are looked through again."""
MOST_PICKS = 20
"""Of one step, the oddest: a step in which everything is odd must not bury the others."""
FEWEST_PEERS = 8
PEER_REWARD = 0.05
"""Rollouts whose rewards differ by at most this share of the step's range count as equally rewarded."""
FAR = 4.0
"""Robust standard deviations from the median at which a length is unusual."""
SAME_CALLS = 3
BAD_CALLS = 2
BAD_SHARE = 0.5
JUDGE_GAP = 0.5
EQUAL_PROMPTS = 3
LONG_ANSWER = 20
"""Characters from which equal answers are odd even where no references tell that they should differ."""

JUDGE_KINDS = frozenset({"judge"})
EXACT_KINDS = frozenset({"exact", "numeric", "multiple_choice", "unit_tests", "citation_f1", "abstention"})
"""Rewards that compare with a key; each gives 0 to 1."""
RULES = {
    "judge": "Judge disagrees",
    "answers": "Same answer everywhere",
    "bad_calls": "Malformed calls",
    "calls": "Repeated calls",
    "length": "Unusual length",
}


@dataclass(frozen=True, slots=True)
class SeenCall:
    tool: str
    arguments: str | None
    """As written; None where only their beginning is kept."""
    status: str


@dataclass(frozen=True, slots=True)
class SeenRollout:
    """What the rules know of a rollout."""

    group: int
    index: int
    prompt: str
    """Identity of the prompt's text."""
    reward: float | None
    rewards: Mapping[str, float | None]
    tokens: int
    """Sampled by the policy."""
    answer: str
    reference: str = ""
    calls: tuple[SeenCall, ...] = ()


@dataclass(frozen=True)
class Reason:
    rule: str
    """Of RULES."""
    words: str
    strength: float
    """From 0 to 1."""


@dataclass(frozen=True)
class OddRollout:
    seen: SeenRollout
    reasons: list[Reason]

    @property
    def oddness(self) -> float:
        return sum(reason.strength for reason in self.reasons)


def pick_odd(
    rollouts: Sequence[SeenRollout], *, judges: frozenset[str] = frozenset(), exact: frozenset[str] = frozenset()
) -> list[OddRollout]:
    """The oddest of a step's highly rewarded rollouts, at most MOST_PICKS. `judges` and `exact` name components."""
    valued = [one for one in rollouts if is_number(one.reward)]
    high = find_high(valued)
    lengths = Lengths(valued)
    equal = find_equal_answers(high)
    odd = []
    for one in high:
        found = [
            find_disagreement(one, judges=judges, exact=exact),
            equal.get((one.group, one.index)),
            find_bad_calls(one),
            find_repeated_calls(one),
            lengths.judge(one),
        ]
        reasons = sorted((reason for reason in found if reason), key=lambda reason: -reason.strength)
        if reasons:
            odd.append(OddRollout(one, reasons))
    odd.sort(key=lambda one: (-one.oddness, one.seen.group, one.seen.index))
    return odd[:MOST_PICKS]


def is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def find_high(valued: Sequence[SeenRollout]) -> list[SeenRollout]:
    """Rewards above zero that reach the step's upper quartile and exceed its mean, or are what every rollout got."""
    rewards = sorted(one.reward or 0.0 for one in valued)
    if not rewards:
        return []
    quartile = rewards[math.ceil(0.75 * len(rewards)) - 1]
    mean = statistics.fmean(rewards)
    all_equal = rewards[0] == rewards[-1]
    return [
        one
        for one in valued
        if one.reward is not None and one.reward > 0 and one.reward >= quartile and (all_equal or one.reward > mean)
    ]


class Lengths:
    """Lengths of the rollouts of a step, in order of their rewards."""

    def __init__(self, valued: Sequence[SeenRollout]) -> None:
        ordered = sorted((one.reward or 0.0, one.tokens) for one in valued)
        self._rewards = [reward for reward, _ in ordered]
        self._tokens = [tokens for _, tokens in ordered]
        self._near = PEER_REWARD * (self._rewards[-1] - self._rewards[0]) if ordered else 0.0
        self._known: dict[tuple[int, int], tuple[float, float]] = {}

    def judge(self, one: SeenRollout) -> Reason | None:
        """Whether the length lies more than FAR robust deviations from the median of rollouts with such a reward.

        The deviation is 1.4826 times the median distance from the median, and never less than a tenth of the median
        or one token: where all lengths nearly agree, a token more is not odd.
        """
        reward = one.reward or 0.0
        first = bisect_left(self._rewards, reward - self._near)
        last = bisect_right(self._rewards, reward + self._near)
        if last - first < FEWEST_PEERS:
            return None
        if (first, last) not in self._known:
            tokens = self._tokens[first:last]
            middle = statistics.median(tokens)
            distance = statistics.median(abs(each - middle) for each in tokens)
            self._known[first, last] = middle, max(1.4826 * distance, 0.1 * middle, 1.0)
        middle, spread = self._known[first, last]
        if abs(one.tokens - middle) <= FAR * spread:
            return None
        than = "longer" if one.tokens > middle else "shorter"
        words = (
            f"{one.tokens:,} tokens, far {than} than the {last - first:,} rollouts of this step with such a reward: "
            f"their median is {middle:,.0f}."
        )
        return Reason("length", words, min(1.0, abs(one.tokens - middle) / spread / 20))


def find_repeated_calls(one: SeenRollout) -> Reason | None:
    """The same tool asked the same thing SAME_CALLS times; how the arguments are spelled does not matter."""
    asked = Counter((call.tool, spell(call.arguments)) for call in one.calls if call.arguments is not None)
    if not asked:
        return None
    (tool, _), times = asked.most_common(1)[0]
    if times < SAME_CALLS:
        return None
    return Reason("calls", f"Called {tool} {times} times with the same arguments.", min(1.0, times / 8))


def spell(arguments: str) -> str:
    """One spelling of equal JSON values; text that is none as it stands."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments.strip()


def find_bad_calls(one: SeenRollout) -> Reason | None:
    """Calls that could not be made as they were written: at least BAD_CALLS, and half of all."""
    bad = sum(call.status == "rejected" for call in one.calls)
    if bad < BAD_CALLS or bad < BAD_SHARE * len(one.calls):
        return None
    return Reason(
        "bad_calls",
        f"{bad} of its {len(one.calls)} calls could not be made as they were written.",
        bad / len(one.calls),
    )


def find_disagreement(one: SeenRollout, *, judges: frozenset[str], exact: frozenset[str]) -> Reason | None:
    """The mean of the judges against the mean of the rewards that compare with a key, each cut to 0 to 1."""
    judged = _read_components(one, judges)
    keyed = _read_components(one, exact)
    if not judged or not keyed:
        return None
    gap = statistics.fmean(judged.values()) - statistics.fmean(keyed.values())
    if abs(gap) < JUDGE_GAP:
        return None
    words = f"{_list_values(judged)}, but {_list_values(keyed)}."
    return Reason("judge", words[0].upper() + words[1:], min(1.0, abs(gap)))


def _read_components(one: SeenRollout, names: frozenset[str]) -> dict[str, float]:
    found = {}
    for name in sorted(names):
        value = one.rewards.get(name)
        if value is not None and math.isfinite(value):
            found[name] = min(1.0, max(0.0, value))
    return found


def _list_values(values: Mapping[str, float]) -> str:
    return " and ".join(f"{name} gives {value:.2f}" for name, value in values.items())


def find_equal_answers(high: Sequence[SeenRollout]) -> dict[tuple[int, int], Reason]:
    """Answers that are word for word the same for at least EQUAL_PROMPTS prompts; the first of each tells of all.

    Where the references of these prompts agree as well, the answer may just be right, as a letter of a choice is.
    """
    same: dict[str, list[SeenRollout]] = defaultdict(list)
    for one in high:
        same[" ".join(one.answer.casefold().split())].append(one)
    prompts = len({one.prompt for one in high})
    found = {}
    for answer, rollouts in same.items():
        asked = {one.prompt for one in rollouts}
        if len(asked) < EQUAL_PROMPTS or not _should_differ(answer, rollouts):
            continue
        first = min(rollouts, key=lambda one: (one.group, one.index))
        what = "Gives the very same answer" if answer else "Gives no answer at all, just"
        words = f"{what} as for {len(asked) - 1} other prompts of this step, each with a high reward."
        found[first.group, first.index] = Reason("answers", words, len(asked) / prompts)
    return found


def _should_differ(answer: str, rollouts: Sequence[SeenRollout]) -> bool:
    references = {one.reference for one in rollouts if one.reference}
    if not answer or len(references) > 1:
        return True
    return not references and len(answer) >= LONG_ANSWER


def read_components(snapshot: Mapping[str, Any], stage: int) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the components that judge, and of those that compare with a key, by the frozen recipe."""
    stages = snapshot.get("recipe", {}).get("stages", [])
    rewards = stages[stage].get("rewards") or [] if 0 <= stage < len(stages) else []
    named = [
        (str(reward.get("name") or reward.get("kind")), reward.get("kind"))
        for reward in rewards
        if isinstance(reward, Mapping)
    ]
    return (
        frozenset(name for name, kind in named if kind in JUDGE_KINDS),
        frozenset(name for name, kind in named if kind in EXACT_KINDS),
    )
