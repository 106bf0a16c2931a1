"""Every address at which the platform can be changed, found in its table of addresses."""

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, get_resolver

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
Address = tuple[str, str]
"""Name of the address, such as `api:runs`, and the method."""


def list_writing_addresses() -> set[Address]:
    """Without the admin, whose pages are made of tables, and without redirections."""
    return set(_walk(get_resolver().url_patterns, ""))


def _walk(patterns: list[Any], prefix: str) -> Iterator[Address]:
    for pattern in patterns:
        if not isinstance(pattern, URLPattern):
            if pattern.app_name != "admin":
                yield from _walk(pattern.url_patterns, f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix)
            continue
        name = prefix + (pattern.name or str(pattern.pattern))
        for method in _find_methods(pattern.callback):
            yield name, method


def _find_methods(view: Any) -> set[str]:
    view_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if view_class is not None:
        if view_class.__name__ == "RedirectView":
            return set()
        # Django's forms answer PUT as POST; browsers send POST.
        methods = {method for method in WRITES if hasattr(view_class, method.lower())}
        return {"POST"} if "POST" in methods else methods
    allowed = _read_decorators(view)
    return set(WRITES & allowed) if allowed is not None else {"POST"}


def _read_decorators(view: Any) -> set[str] | None:
    """The methods that `require_http_methods` lets through; None for a view without it, which takes any."""
    waiting, seen = [view], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        names = getattr(getattr(one, "__code__", None), "co_freevars", ())
        for name, cell in zip(names, getattr(one, "__closure__", None) or (), strict=False):
            if name == "request_method_list":
                return set(cell.cell_contents)
            if callable(cell.cell_contents):
                waiting.append(cell.cell_contents)
        if wrapped := getattr(one, "__wrapped__", None):
            waiting.append(wrapped)
    return None
