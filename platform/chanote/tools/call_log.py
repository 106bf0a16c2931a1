"""The calls of a run as a reader asked for them: filters and pages that cost the same in a log of any length."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from django.db.models import Count, QuerySet

from chanote.checks.masking import Mask
from chanote.runs.models import Run
from chanote.tools.models import ToolCall
from chanote.web.numbers import read_number
from toolsandbox.contract import Status

PER_PAGE = 50
STATUSES: tuple[str, ...] = get_args(Status)
COLUMNS = (
    "call", "attempt", "step", "rollout", "turn", "tool", "status", "wall_ms", "arguments", "arguments_characters",
    "output", "output_characters", "at",
)  # fmt: skip


@dataclass(frozen=True)
class CallWish:
    tool: str = ""
    status: str = ""
    step: int | None = None
    rollout: str = ""
    """Of a step; without one it is passed over."""

    @property
    def is_filtered(self) -> bool:
        return bool(self.tool or self.status or self.step is not None)


def read_call_wish(query: Mapping[str, str]) -> CallWish:
    """What the address asks for; what it cannot mean is passed over."""
    status = query.get("status", "")
    number = read_number(query.get("step", ""))
    return CallWish(
        tool=query.get("tool", "").replace("\0", "")[:80],
        status=status if status in STATUSES or status == "failed" else "",
        step=number,
        rollout=query.get("rollout", "").replace("\0", "").strip()[:80] if number is not None else "",
    )


def mask_calls(calls: Iterable[ToolCall], mask: Mask) -> list[ToolCall]:
    """The calls as people may see them; not to be saved."""
    shown = list(calls)
    for one in shown:
        one.arguments, one.output = mask.apply(one.arguments), mask.apply(one.output)
    return shown


def find_calls(run: Run, wish: CallWish) -> QuerySet[ToolCall]:
    calls = ToolCall.objects.filter(run=run)
    if wish.tool:
        calls = calls.filter(tool=wish.tool)
    if wish.status == "failed":
        calls = calls.filter(status__in=[one for one in STATUSES if one != "ok"])
    elif wish.status:
        calls = calls.filter(status=wish.status)
    if wish.step is not None:
        calls = calls.filter(step=wish.step)
        if wish.rollout:
            calls = calls.filter(rollout=wish.rollout)
    return calls


@dataclass(frozen=True)
class CallPage:
    """A page of the log, the newest first. `older` and `newer` are identities to go on from; None at an end."""

    calls: list[ToolCall]
    older: int | None
    newer: int | None


def read_call_page(calls: QuerySet[ToolCall], *, before: int | None = None, after: int | None = None) -> CallPage:
    """Calls older than `before`, or the next newer than `after`, or the newest. Never counts, never skips rows."""
    rows = calls.select_related("attempt")
    if after is not None:
        found = list(rows.filter(id__gt=after).order_by("id")[: PER_PAGE + 1])
        more = len(found) > PER_PAGE
        found = found[:PER_PAGE][::-1]
        if not found:
            return read_call_page(calls)
        return CallPage(found, older=found[-1].pk, newer=found[0].pk if more else None)
    if before is not None:
        rows = rows.filter(id__lt=before)
    found = list(rows.order_by("-id")[: PER_PAGE + 1])
    more = len(found) > PER_PAGE
    found = found[:PER_PAGE]
    newer = found[0].pk if before is not None and found else None
    return CallPage(found, older=found[-1].pk if more else None, newer=newer)


@dataclass(frozen=True)
class CallCounts:
    """How many calls a run made, by tool and status: one pass over an index."""

    by_tool: dict[str, int]
    by_status: dict[str, int]
    total: int

    @property
    def failed(self) -> int:
        return self.total - self.by_status.get("ok", 0)


def count_calls(run: Run) -> CallCounts:
    by_tool: dict[str, int] = {}
    by_status: dict[str, int] = {}
    counted = ToolCall.objects.filter(run=run).order_by().values("tool", "status").annotate(count=Count("id"))
    for row in counted:
        by_tool[row["tool"]] = by_tool.get(row["tool"], 0) + row["count"]
        by_status[row["status"]] = by_status.get(row["status"], 0) + row["count"]
    ordered = dict(sorted(by_status.items(), key=lambda one: STATUSES.index(one[0])))
    return CallCounts(dict(sorted(by_tool.items())), ordered, sum(by_tool.values()))


def export_calls(calls: QuerySet[ToolCall], mask: Mask) -> Iterator[dict[str, Any]]:
    """Every call in the order in which it was stored, masked, a thousand in memory at a time."""
    for call in calls.select_related("attempt").order_by("id").iterator(chunk_size=1000):
        mask_calls([call], mask)
        row = {name: getattr(call, name) for name in COLUMNS if name not in ("attempt", "at")}
        row |= {
            "attempt": call.attempt.number if call.attempt else None,
            "at": call.at.isoformat() if call.at else None,
        }
        yield {name: row[name] for name in COLUMNS}
