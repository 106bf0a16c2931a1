"""How the tool service is, told in one sentence with the way out, and kept for some seconds for every page to use."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from chanote.tools.client import ServiceFailed, ask
from chanote.tools.endpoints import Endpoint, find_endpoint

PATIENCE_OF_LAUNCH_S = 10.0
KEPT_S = 5.0
KEPT_WHEN_BAD_S = 15.0
"""A service that did not answer costs a page its patience; not every page."""
LAW_TOOLS = ("search_law", "read_law")
CODE_TOOLS = ("run_python", "run_tests")


@dataclass(frozen=True)
class Health:
    """`state`: `absent` (none is set up), `unreachable`, `starting` (answers and is not ready), `partly` or `ready`."""

    state: str
    sentence: str
    address: str = ""
    functions: tuple[dict[str, Any], ...] = ()
    """Its tools as OpenAI function schemas."""
    code_reason: str = ""
    """Why code tools do not run; empty when they do."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Of all its parts: corpus_hash, language, laws, sections, image_digest, runtime, warm, leased, waiting."""

    @property
    def answers(self) -> bool:
        return self.state in ("partly", "ready")

    @property
    def tools(self) -> list[str]:
        return [str(one["name"]) for one in self.functions]

    @property
    def corpus_hash(self) -> str:
        return str(self.facts.get("corpus_hash", ""))

    @property
    def image_digest(self) -> str:
        return str(self.facts.get("image_digest", ""))

    def why_not(self, tool: str) -> str:
        """Why the tool cannot be called now; empty when it can."""
        if not self.answers:
            return self.sentence
        if tool in CODE_TOOLS and self.code_reason:
            return self.code_reason
        return "" if tool in self.tools else f"The tool service at {self.address} does not offer {tool}."


ABSENT = Health(
    "absent",
    "No tool service is set up. Start one (docs/toolsets.md) and name its address in CHANOTE_SANDBOX_URL.",
)
_KNOWN: dict[str, tuple[float, Health]] = {}
_LOCK = threading.Lock()


def look(address: str = "", *, fresh: bool = False) -> Health:
    """The health of a service, at most some seconds old. A page waits no longer than `SANDBOX_PATIENCE_MS` for it.

    `fresh` asks in any case and waits longer: for a launch, not a page.
    """
    endpoint = find_endpoint(address)
    if endpoint is None:
        if not address:
            return ABSENT
        return Health(
            "unreachable",
            f"This installation knows no tool service at {address}; add it to CHANOTE_SANDBOX_URL.",
            address,
        )
    with _LOCK:
        until, known = _KNOWN.get(endpoint.address, (0.0, ABSENT))
    if time.monotonic() < until and not fresh:
        return known
    found = ask_health(endpoint, seconds=PATIENCE_OF_LAUNCH_S if fresh else settings.SANDBOX_PATIENCE_MS / 1e3)
    with _LOCK:
        kept = KEPT_S if found.answers else KEPT_WHEN_BAD_S
        _KNOWN[endpoint.address] = (time.monotonic() + kept, found)
    return found


def forget_health() -> None:
    """Ask anew the next time."""
    with _LOCK:
        _KNOWN.clear()


def ask_health(endpoint: Endpoint, *, seconds: float) -> Health:
    started = time.monotonic()
    try:
        ready = ask(endpoint, "/readyz", seconds=seconds)
        left = max(0.1, started + seconds - time.monotonic())
        listed = ask(endpoint, "/v1/tools", seconds=left)
    except ServiceFailed as failed:
        return Health("unreachable", str(failed), endpoint.address)
    parts = [part for part in dict(ready.body.get("parts") or {}).values() if isinstance(part, dict)]
    facts: dict[str, Any] = {}
    for part in parts:
        facts |= part.get("facts") or {}
    functions = tuple(
        one["function"]
        for one in listed.body.get("tools") or []
        if isinstance(one, dict) and isinstance(one.get("function"), dict) and one["function"].get("name")
    )
    if ready.status != 200 or not functions:
        details = "; ".join(str(part["detail"]) for part in parts if part.get("detail") and not part.get("ready"))
        said = f" It says: {details[:300]}." if details else ""
        return Health(
            "starting",
            f"The tool service at {endpoint.address} is not ready.{said} Wait a moment, or look at its log.",
            endpoint.address,
            functions,
            facts=facts,
        )
    reason = next((str(part["detail"])[:300] for part in parts if _is_unavailable(part)), "")
    names = {str(one["name"]) for one in functions}
    if not reason and not names & set(CODE_TOOLS):
        reason = "unavailable: the service was started without code tools"
    state = "partly" if reason else "ready"
    return Health(state, tell(names, reason), endpoint.address, functions, reason, facts)


def _is_unavailable(part: dict[str, Any]) -> bool:
    return str(part.get("detail", "")).startswith("unavailable")


def tell(names: set[str], reason: str) -> str:
    """`Law tools work. Code tools answer unavailable: no container engine. …`"""
    law = bool(names & set(LAW_TOOLS))
    if not reason:
        return "Law and code tools answer." if law else "Code tools answer; no corpus is open, so law tools do not."
    way_out = (
        "Start a container engine and build the image (docs/code-tools.md), then start the service again."
        if "without code tools" not in reason
        else "Start it without --no-code to have them."
    )
    begun = "Law tools work. " if law else "No tool works: no corpus is open. "
    # The service's own way out, behind the semicolon, is the one that follows here.
    return f"{begun}Code tools answer “{reason.partition(';')[0]}”. {way_out}"
