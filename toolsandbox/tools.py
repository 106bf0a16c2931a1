"""The seam between the service and what it serves: a provider opens, names its tools and routes, and closes."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.routing import BaseRoute

from toolsandbox.contract import ToolArguments, ToolReply


@dataclass(frozen=True)
class Caller:
    """Who calls. The service fills it in; nothing in it comes from the arguments the policy wrote."""

    tenant: str
    call_id: str
    session: str | None = None


@dataclass(frozen=True)
class Tool:
    """One tool. `run` answers every failure of the call in its reply; it raises `ToolUnavailable` or `Overloaded`
    for what the policy has no part in."""

    name: str
    description: str
    arguments: type[ToolArguments]
    reply: type[ToolReply]
    run: Callable[[Any, Caller], Awaitable[ToolReply]]
    read_only: bool = False
    """The call changes nothing, so repeating it is harmless."""


@dataclass
class Health:
    ready: bool
    detail: str = ""
    facts: dict[str, str | int | float | bool] = field(default_factory=dict)


class ToolProvider(Protocol):
    """A family of tools, as the service mounts it."""

    def tools(self) -> Sequence[Tool]: ...

    def routes(self) -> Sequence[BaseRoute]:
        """Routes beside the native ones: files as streams, endpoints that others' clients expect."""
        ...

    async def start(self) -> None:
        """Called before the first request. An exception here stops the service before it serves."""
        ...

    async def stop(self) -> None:
        """Called after the last request; leaves nothing behind."""
        ...

    def health(self) -> Health: ...


class Overloaded(Exception):
    """The bounded queue is full: 429 with Retry-After."""

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ToolUnavailable(Exception):
    """The tool cannot run on this machine or at this moment: 503, and the reason in one sentence."""

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
