"""Words for what an agent did."""

from collections.abc import Mapping

from django import template

from chanote.boards.episodes import STOPS, word_cost

register = template.Library()


@register.filter
def stop_words(reason: str) -> str:
    return STOPS.get(reason, reason)


@register.filter
def call_words(status: str) -> str:
    """A status of the tool service."""
    return status.replace("_", " ").capitalize()


@register.filter
def cost_words(cost: float) -> str:
    return word_cost(cost)


@register.filter
def entry(found: Mapping[str, str], name: str) -> str:
    return found.get(name, "")
