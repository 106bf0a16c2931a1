"""The call log of a run: the tab, and the same as CSV and JSON."""

import csv
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from chanote.checks.masking import Mask
from chanote.runs.live import find_run
from chanote.runs.rollout_masks import find_mask_of_run
from chanote.runs.views import guard_cell, read_head
from chanote.tools.call_log import (
    COLUMNS,
    STATUSES,
    count_calls,
    export_calls,
    find_calls,
    mask_calls,
    read_call_page,
    read_call_wish,
)
from chanote.tools.models import ToolCall
from chanote.web.numbers import read_key

MOST_OTHERS = 100
LONGEST_LINK = 1500
FILTERS = ("tool", "status", "step", "rollout")


@login_required
@require_GET
def calls(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run, context = read_head(request, project, number, "calls")
    wish = read_call_wish(request.GET)
    counts = count_calls(run)
    before, after = (read_key(request.GET.get(name, "")) for name in ("before", "after"))
    page = read_call_page(find_calls(run, wish), before=before, after=after)
    mask_calls(page.calls, find_mask_of_run(run))
    query = request.GET.copy()
    for name in [name for name in query if name not in FILTERS or not query[name]]:
        del query[name]
    first = before is None and after is None
    context |= {
        "wish": wish,
        "counts": counts,
        "statuses": [one for one in STATUSES if one in counts.by_status or one == wish.status],
        "page": page,
        "matching": _count_matching(counts, wish),
        "query": query.urlencode(),
        "page_query": f"{query.urlencode()}&" if query else "",
        "refresh": request.get_full_path() if run.is_active and first else "",
    }
    return render(request, "tools/calls.html", context)


@login_required
@require_GET
def call(request: HttpRequest, project: str, number: int, call: int) -> HttpResponse:
    """One call whole, as far as it is kept, with the other calls of its trajectory."""
    run, context = read_head(request, project, number, "calls")
    one = get_object_or_404(ToolCall.objects.select_related("attempt"), run=run, pk=min(call, 2**63 - 1))
    others = []
    if one.rollout:
        same = ToolCall.objects.filter(run=run, step=one.step, rollout=one.rollout, attempt=one.attempt_id)
        others = list(same.order_by("turn", "id")[:MOST_OTHERS])
    mask_calls([one, *others], find_mask_of_run(run))
    context |= {"call": one, "others": others, "parts": list_parts(one), "try_query": link_playground(one)}
    return render(request, "tools/call.html", context)


def list_parts(one: ToolCall) -> list[tuple[str, str]]:
    """Arguments by name where the policy wrote an object, else its text as it stands."""
    cut = f", the first {len(one.arguments):,} of {one.arguments_characters:,} characters"
    values = _parse(one)
    if values is None:
        return [(f"Arguments{cut if one.are_arguments_cut else ''}", one.arguments or "(nothing)")]
    return [
        (name[:80], value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in values.items()
    ]


def link_playground(one: ToolCall) -> str:
    """The same arguments as an address of the playground; empty where they are too long for one."""
    values = _parse(one)
    if values is None or len(one.arguments) > LONGEST_LINK:
        return ""
    return urlencode({"tool": one.tool, **{f"a.{name}": value for name, value in values.items()}})


def _parse(one: ToolCall) -> dict[str, Any] | None:
    if one.are_arguments_cut:
        return None
    try:
        values = json.loads(one.arguments or "{}")
    except (ValueError, RecursionError):
        return None
    flat = isinstance(values, dict) and all(isinstance(value, str | int | float) for value in values.values())
    return values if flat and values else None


def _count_matching(counts: Any, wish: Any) -> int | None:
    """How many calls the filter lets through where the counts by tool and status tell it; None elsewhere."""
    if wish.step is not None or (wish.tool and wish.status):
        return None
    if wish.tool:
        return counts.by_tool.get(wish.tool, 0)
    if wish.status == "failed":
        return counts.failed
    return counts.by_status.get(wish.status, 0) if wish.status else counts.total


@login_required
@require_GET
def calls_csv(request: HttpRequest, project: str, number: int) -> StreamingHttpResponse:
    """Every call that the filter names, the oldest first."""
    run = find_run(request.user, project, number)
    found = find_calls(run, read_call_wish(request.GET))
    response = StreamingHttpResponse(_write_csv(found, find_mask_of_run(run)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{project}-run-{run.number}-calls.csv"'
    return response


class _Line:
    """What `csv.writer` writes to; gives each line back."""

    def write(self, line: str) -> str:
        return line


def _write_csv(calls: Any, mask: Mask) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(COLUMNS)
    for row in export_calls(calls, mask):
        yield writer.writerow(guard_cell(value) for value in row.values())


@login_required
@require_GET
def calls_json(request: HttpRequest, project: str, number: int) -> StreamingHttpResponse:
    run = find_run(request.user, project, number)
    found = find_calls(run, read_call_wish(request.GET))
    response = StreamingHttpResponse(_write_json(found, find_mask_of_run(run)), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="{project}-run-{run.number}-calls.json"'
    return response


def _write_json(calls: Any, mask: Mask) -> Iterator[str]:
    begun = False
    for row in export_calls(calls, mask):
        yield f"{',' if begun else '['}\n{json.dumps(row, ensure_ascii=False)}"
        begun = True
    yield "\n]\n" if begun else "[]\n"
