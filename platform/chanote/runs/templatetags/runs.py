"""Filters of the pages of runs."""

import math
from collections.abc import Sequence
from typing import Any

from django import template
from django.template import Context
from django.urls import reverse

from chanote.runs.curves import spell_number
from chanote.runs.models import RolloutRow
from chanote.runs.pages import guess_language
from chanote.runs.rollout_words import name_stop, word_logprob

register = template.Library()


@register.filter
def figures(value: float | None) -> str:
    """Four significant digits."""
    return spell_number(value)


@register.filter
def signed(value: float | None) -> str:
    """A difference with its sign."""
    text = spell_number(value)
    return f"+{text}" if value is not None and value > 0 else text


@register.filter
def reward(value: float | None) -> str:
    """With two decimals, so that a list can be read down; a tiny one with its digits, none in a word."""
    if value is None or not math.isfinite(value):
        return "none"
    text = f"{value:.2f}" if value == 0 or 0.01 <= abs(value) < 1000 else spell_number(value)
    return text.replace("-", "\N{MINUS SIGN}")


@register.filter
def percent(share: float) -> str:
    return f"{100 * share:.3g} %"


@register.filter
def advantage(value: float | None) -> str:
    """With its sign and two decimals, so that a group can be read down."""
    if value is None:
        return ""
    text = f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
    return text if text[1:] != "0.00" else "0.00"


@register.filter
def logprob(value: float) -> str:
    return word_logprob(value)


@register.filter
def visible(token: str) -> str:
    """A token with signs for what cannot be seen: spaces, line ends, tabs."""
    return token.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥") or "(empty)"


@register.filter
def guess_lang(text: str) -> str:
    return guess_language(text)


@register.filter
def stop_word(reason: str) -> str:
    return name_stop(reason)


@register.filter
def flag_words(row: RolloutRow) -> str:
    """What is unusual about a rollout, in a few words."""
    flags = {
        "masked": row.masked,
        "cut": row.cut and not row.masked,
        "malformed call": row.rejected_calls,
        "tool error": row.failed_calls,
    }
    return ", ".join(name for name, here in flags.items() if here)


@register.filter
def spell_name(name: str) -> str:
    """The name of a reward as people write it."""
    return name.replace("_", " ").capitalize()


@register.filter
def bar_of(value: float, views: Sequence[Any]) -> str:
    """Length of a reward's bar in percent of the largest reward of the group, at least of 1."""
    rewards = [abs(view.stored.reward) for view in views if view.stored.reward is not None]
    largest = max([1.0, *(reward for reward in rewards if math.isfinite(reward))])
    return f"{min(100.0, 100 * abs(value) / largest):.1f}"


@register.simple_tag
def board_url(project: str, board: str) -> str:
    """Address of a board."""
    return reverse("boards:board", args=[project, board])


@register.simple_tag(takes_context=True)
def compare_without(context: Context, number: int) -> str:
    """The address of the comparison without one run."""
    query = context["request"].GET.copy()
    query.setlist("run", [text for text in query.getlist("run") if text != str(number)])
    return f"?{query.urlencode()}"


@register.simple_tag(takes_context=True)
def compare_keys(context: Context, value: str) -> str:
    """The address of the comparison with all keys, or with the different ones only."""
    query = context["request"].GET.copy()
    query.pop("all", None)
    if value:
        query["all"] = value
    return f"?{query.urlencode()}#config"
