"""Kinds of errands: functions found in the module `errands` of any app."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import autodiscover_modules

if TYPE_CHECKING:
    from chanote.errands.work import Work

Function = Callable[["Work"], dict[str, Any] | None]


@dataclass(frozen=True)
class Kind:
    name: str
    permission: str
    """Who may start, stop and resume it."""
    function: Function


KINDS: dict[str, Kind] = {}


def errand(name: str, *, permission: str = "datasets.change") -> Callable[[Function], Function]:
    """Register a function as the work of errands of this kind.

    It is started anew in the same directory after its process was killed or stopped, so it must find what it has done.
    What it returns becomes the errand's result.
    """

    def register(function: Function) -> Function:
        KINDS[name] = Kind(name, permission, function)
        return function

    return register


def find_kind(name: str) -> Kind:
    """Raises KeyError for a name that no app registers."""
    _discover()
    return KINDS[name]


@cache
def _discover() -> None:
    autodiscover_modules("errands")
