"""Words of people within Markdown that the platform writes."""

import re
from typing import Any

from django import template

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
def score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
