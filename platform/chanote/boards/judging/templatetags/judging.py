"""Words for what judges said of one answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import template

from trainer.contract.judging import HIGHEST

register = template.Library()


@register.filter
def tenths(value: float) -> str:
    """A score as a grade from 1 to 10."""
    return f"{value * HIGHEST:g}"


@register.filter
def judges_apart(said: Sequence[Mapping[str, Any]]) -> str:
    """Highest less lowest grade, or both verdicts' distance; empty where all say the same or one failed."""
    values = [one.get("value") for one in said]
    known = [value for value in values if value is not None]
    if len(known) < len(values) or max(known) == min(known):
        return ""
    apart = max(known) - min(known)
    if any(one.get("given") for one in said):
        return "a win and a loss" if apart == 1 else "half a verdict"
    return f"{round(apart * HIGHEST, 6):g}"


@register.filter
def logits(value: float) -> str:
    return f"{value:.2f}".replace("-", "\u2212")
