"""Words of people within Markdown that the platform writes, and states of packages on pages."""

import re
from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.safestring import SafeString

from chanote.custody.models import Package, State
from chanote.runs.curves import spell_number
from chanote.web.templatetags.chanote import status

register = template.Library()
MARKS = re.compile(r"([\\`*_\[\]<>|#])")


@register.filter
def plain(value: Any) -> str:
    """A value in one line, with nothing in it that Markdown or HTML would read as a mark."""
    if isinstance(value, list | tuple):
        return ", ".join(plain(one) for one in value)
    return MARKS.sub(r"\\\1", " ".join(str("" if value is None else value).split()))


@register.filter
def in_hours(seconds: float | None) -> str:
    return f"{(seconds or 0) / 3600:.2f}"


@register.filter
def digits(value: float | None) -> str:
    """Four significant ones."""
    return spell_number(value)


STATES = {
    State.WAITING: ("draft", "In quarantine"),
    State.RELEASING: ("running", "Being let in"),
    State.RELEASED: ("finished", "Let in"),
    State.REJECTED: ("cancelled", "Kept out"),
}
"""State of a package → icon and word."""


@register.simple_tag
def package_state(package: Package) -> SafeString:
    picture, word = STATES[State(package.state)]
    return status(picture, word=word)


@register.filter
def at(mapping: Mapping[Any, Any], key: Any) -> Any:
    return mapping.get(key, "")
