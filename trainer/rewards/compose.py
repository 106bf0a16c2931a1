"""Several rewards made one: total = Σ_k weight_k · value_k, with value_k already multiplied by its gate.

A component that fails gives no total: the rollout is masked and counted, which differs from being worth nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from trainer.failures import StopNow
from trainer.rewards.base import Answer, Reward, Score, describe


@dataclass(frozen=True)
class Scored:
    """What all rewards together make of one answer."""

    total: float | None
    """None when any component failed."""
    components: dict[str, float | None]
    """By name, after gates and before weights; None where it failed."""
    faults: dict[str, str]
    """Failed component → why, in a sentence."""
    words: dict[str, str] = field(default_factory=dict)
    """Component → what it said about its value; of those that said anything."""


def score_all(rewards: Sequence[Reward], answers: Sequence[Answer]) -> list[Scored]:
    """Score every answer by every reward, in the order of the rewards; raises only StopNow and KeyboardInterrupt.

    All answers of a group must be in one call.
    """
    found = list(answers)
    components: list[dict[str, float | None]] = [{} for _ in answers]
    faults: list[dict[str, str]] = [{} for _ in answers]
    words: list[dict[str, str]] = [{} for _ in answers]
    for reward in rewards:
        name = reward.config.component
        for place, score in enumerate(_score(reward, found)):
            components[place][name] = score.value
            if score.words:
                words[place][name] = score.words
            if score.value is None:
                faults[place][name] = score.fault
            else:
                found[place] = replace(found[place], components={**found[place].components, name: score.value})
    return [
        Scored(_sum(rewards, values), values, wrong, said)
        for values, wrong, said in zip(components, faults, words, strict=True)
    ]


def summarise(scored: Sequence[Scored]) -> dict[str, float]:
    """Metrics of a step: mean value of each component over the answers it could value, and how many it could not."""
    metrics: dict[str, float] = {}
    for name in scored[0].components if scored else ():
        values = [value for one in scored if (value := one.components[name]) is not None]
        if values:
            metrics[f"reward/{name}"] = sum(values) / len(values)
        metrics[f"reward/{name}/faults"] = float(len(scored) - len(values))
    return metrics


def _score(reward: Reward, answers: Sequence[Answer]) -> list[Score]:
    gates = [_gate(reward, answer) for answer in answers]
    places = [place for place, gate in enumerate(gates) if gate is not None and not (reward.costly and gate == 0)]
    scores = [Score(0.0) if gate is not None else Score(None, _gate_failed(reward)) for gate in gates]
    for place, score in zip(places, _score_safely(reward, [answers[place] for place in places]), strict=True):
        gate = gates[place]
        assert gate is not None  # places leaves those out
        if score.value is not None:
            score = replace(score, value=score.value * gate + 0.0)  # adding 0 turns -0 into 0
        scores[place] = score
    return scores


def _gate(reward: Reward, answer: Answer) -> float | None:
    return answer.components.get(reward.config.gate) if reward.config.gate else 1.0


def _gate_failed(reward: Reward) -> str:
    return f"The reward {reward.config.gate}, its gate, failed."


def _score_safely(reward: Reward, answers: Sequence[Answer]) -> list[Score]:
    if not answers:
        return []
    try:
        scores = list(reward.score(answers))
    except StopNow:
        raise
    except Exception as error:
        return [Score(None, describe(error)) for _ in answers]
    if len(scores) != len(answers):
        return [Score(None, f"The reward gave {len(scores)} scores for {len(answers)} answers.") for _ in answers]
    return [_checked(score) for score in scores]


def _checked(score: Score) -> Score:
    if score.value is None:
        return score if score.fault else Score(None, "The reward gave no value and no reason.")
    if not math.isfinite(score.value):
        return Score(None, f"The reward gave {score.value}, which is no number.")
    return score


def _sum(rewards: Sequence[Reward], values: dict[str, float | None]) -> float | None:
    total = 0.0
    for reward in rewards:
        value = values[reward.config.component]
        if value is None:
            return None
        total += reward.config.weight * value
    return total
