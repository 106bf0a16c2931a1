"""Filters of the pages of runs."""

from django import template
from django.template import Context
from django.urls import reverse

from chanote.runs.curves import spell_number

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
