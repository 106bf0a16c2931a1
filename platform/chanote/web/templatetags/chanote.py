"""Tags and filters of all pages: icons, states, times, numbers, seals."""

import math
from datetime import UTC, datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

STATES = {
    "draft": ("draft", "Draft"),
    "queued": ("queued", "Queued"),
    "running": ("running", "Running"),
    "stopping": ("pause", "Stopping"),
    "finished": ("finished", "Finished"),
    "failed": ("failed", "Failed"),
    "stopped": ("stopped", "Stopped"),
    "cancelled": ("cancelled", "Cancelled"),
    "review": ("review", "In review"),
    "in_review": ("review", "In review"),
    "restricted": ("lock", "Restricted"),
    "withdrawn": ("cross", "Withdrawn"),
    "approved": ("seal", "Approved"),
    "published": ("seal", "Published"),
    "ok": ("check", "OK"),
    "warn": ("warn", "Warning"),
    "truncated": ("warn", "Truncated"),
    "unparsable": ("warn", "Unparsable"),
    "error": ("failed", "Error"),
    "left_out": ("info", "Left out"),
}
"""State → its icon and its word; colour is only a third hint."""
TINTS = {
    "in_review": "review",
    "restricted": "approved",
    "withdrawn": "failed",
    "stopping": "stopped",
    "truncated": "warn",
    "unparsable": "warn",
    "error": "failed",
    "left_out": "draft",
}


@register.simple_tag
def icon(name: str, tint: str = "") -> SafeString:
    """An icon of the sprite; it says nothing to a screen reader, so a word must stand beside it."""
    return format_html(
        '<svg class="i{}" aria-hidden="true"><use href="{}#i-{}"/></svg>',
        f" {tint}" if tint else "",
        static("icons.svg"),
        name,
    )


@register.simple_tag
def status(state: str, box: bool = False, word: str = "") -> SafeString:
    """A state as icon and word; boxed beside a page's title."""
    picture, default = STATES.get(str(state), ("info", str(state).capitalize()))
    return format_html(
        '<span class="status is-{}{}">{}{}</span>',
        TINTS.get(str(state), str(state)),
        " is-box" if box else "",
        icon(picture),
        word or default,
    )


@register.simple_tag
def chip(text: str, kind: str = "", picture: str = "") -> SafeString:
    """One fact in a frame. Kinds: yes, no (dashed), warn, on (an active filter)."""
    return format_html(
        '<span class="chip{}">{}{}</span>', f" is-{kind}" if kind else "", icon(picture) if picture else "", text
    )


@register.filter
def ago(value: datetime | None) -> SafeString | str:
    """The time since (or until) a moment in words, the moment itself on hover."""
    if value is None:
        return ""
    local = timezone.localtime(value)
    seconds = (timezone.now() - value).total_seconds()
    words = "just now" if abs(seconds) < 5 else f"{about(seconds)} ago" if seconds > 0 else f"in {about(seconds)}"
    if abs(seconds) > 14 * 86400:
        words = f"{local:%-d %b %Y}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        value.astimezone(UTC).isoformat(timespec="seconds"),
        f"{local:%Y-%m-%d %H:%M:%S %Z}",
        words,
    )


def about(seconds: float) -> str:
    """A length of time in its largest unit, as one says it: `26 h`."""
    seconds = abs(seconds)
    for size, unit, most in ((1, "s", 60), (60, "min", 60), (3600, "h", 48)):
        if seconds < size * most:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // 86400:.0f} d"


@register.filter
def span(seconds: float | None) -> str:
    """A length of time in its two largest units: `2 h 06 min`."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    seconds = abs(seconds)
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 10:
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


@register.filter
def thousands(value: Any) -> str:
    """`1180` as `1,180`; a true minus before negative numbers; nothing for nothing."""
    if value is None or value == "":
        return ""
    return f"{value:,}".replace("-", "\N{MINUS SIGN}")


@register.filter(name="bytes")
def spell_bytes(value: int | None) -> str:
    """A size in decimal units with three figures: `1.24 GB`."""
    if value is None:
        return ""
    size = float(value)
    if size < 1000:
        return f"{value} B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        size /= 1000
        if size < 999.5 or unit == "PB":
            break
    decimals = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{size:.{decimals}f} {unit}"


@register.simple_tag
def seal(sha256: str | None) -> SafeString:
    """The ring of a content hash: 32 ticks for its first 32 bits, clockwise from the top, long = 1.

    Without a hash it is the dashed place where a seal would stand.
    """
    if not sha256:
        return mark_safe(
            '<svg viewBox="0 0 64 64" fill="none" stroke="currentColor" aria-hidden="true">'
            '<circle cx="32" cy="32" r="29" stroke-width="1.5" stroke-dasharray="4 4"/>'
            '<circle cx="32" cy="32" r="20" stroke-width="1" stroke-dasharray="2 3"/></svg>'
        )
    return format_html(
        '<svg viewBox="0 0 64 64" fill="none" stroke="currentColor" role="img" aria-label="Seal of {}">'
        "<title>{}</title>"
        '<circle cx="32" cy="32" r="31" stroke-width="1.5"/><circle cx="32" cy="32" r="21" stroke-width="1.2"/>'
        '<path d="{}" stroke-width="1.7"/>'
        '<path d="M24 26 38.5 23l2 15.5L26 41z" stroke-width="1.8" stroke-linejoin="round"/>'
        '<g fill="currentColor" stroke="none"><circle cx="24" cy="26" r="2.3"/><circle cx="38.5" cy="23" r="2.3"/>'
        '<circle cx="40.5" cy="38.5" r="2.3"/><circle cx="26" cy="41" r="2.3"/></g></svg>',
        sha256[:8],
        sha256,
        draw_ticks(int(sha256[:8], 16)),
    )


def draw_ticks(bits: int) -> str:
    """SVG path of 32 radial ticks around (32, 32): from radius 22.5 to 29.5 for 1, to 25 for 0."""
    path = ""
    for place in range(32):
        angle = 2 * math.pi * place / 32
        outer = 29.5 if bits >> (31 - place) & 1 else 25.0
        inside, outside = ((32 + radius * math.sin(angle), 32 - radius * math.cos(angle)) for radius in (22.5, outer))
        path += f"M{inside[0]:.1f} {inside[1]:.1f}L{outside[0]:.1f} {outside[1]:.1f}"
    return path
