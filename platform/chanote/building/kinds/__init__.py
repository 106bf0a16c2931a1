"""The kinds of builds. Each module of this package that defines a BuildKind is one."""

import importlib
import pkgutil
from functools import cache
from typing import Any

from chanote.building.kinds.base import BuildConfig, BuildKind

__all__ = ["BuildConfig", "BuildKind", "find_kinds"]


@cache
def find_kinds() -> dict[str, BuildKind[Any]]:
    """Every kind by its name, in the order of the names of their files."""
    found: dict[str, BuildKind[Any]] = {}
    for module in sorted(one.name for one in pkgutil.iter_modules(__path__)):
        content = importlib.import_module(f"{__name__}.{module}")
        for value in vars(content).values():
            is_kind = isinstance(value, type) and issubclass(value, BuildKind) and value is not BuildKind
            if is_kind and value.__module__ == content.__name__:
                found[value.name] = value()
    return found
