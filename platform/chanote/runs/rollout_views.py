"""The rollouts tab of a run: a step or all of them as a list, one rollout open, or all of one prompt side by side."""

from dataclasses import dataclass, replace
from typing import IO, Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet, Sum
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from chanote.accounts.roles import may
from chanote.checks.masking import Mask, UnmaskRefused
from chanote.runs.lineage import find_rollout_files
from chanote.runs.live import find_run
from chanote.runs.models import RolloutFile, RolloutRow, Run
from chanote.runs.rollout_export import export_rollouts, write_masked
from chanote.runs.rollout_files import CallsUnreadable, find_file, read_group, read_step_calls
from chanote.runs.rollout_groups import GroupFacts, count_equal_groups, read_group_facts
from chanote.runs.rollout_index import list_missing
from chanote.runs.rollout_list import COUNTED, FLAGS, LABELS, SORTS, RolloutList, RolloutWish, read_rollout_wish
from chanote.runs.rollout_masks import find_mask_of_run, mask_call, mask_rollout, unmask_rollout
from chanote.runs.rollout_turns import split_prompt, split_turns
from chanote.runs.rollout_view import (
    LEGEND,
    MOST_TOKENS,
    MOST_TOKENS_IN_GROUP,
    RolloutView,
    list_reasons,
    read_token_page,
    read_weights,
    view_group,
)
from chanote.runs.rollout_words import STOPS
from chanote.runs.views import read_head
from chanote.web.numbers import read_key, read_number, read_numbers
from trainer.contract.tool_calls import StoredToolCall

FILTERS = ("q", "gradient", "ending", "stop", "flag", "label", "low", "high", "sort")
RANGE = ("all", "from", "to")
KEPT = (*FILTERS, *RANGE)
"""Parts of the address that hold while one goes from rollout to rollout."""
PAGES = ("after", "before")
PATIENCE = 2.0
"""Seconds for making rows that are missing before the page is shown without them."""


Place = tuple[int, int, int]
"""Of a rollout: step, group, index."""


@dataclass(frozen=True)
class Steps:
    """The step that is shown, and its neighbours among the steps that stored rollouts."""

    shown: RolloutFile
    previous: int | None
    next: int | None
    first: int
    latest: int
    note: str
    """Why another step is shown than was asked for; empty when it is the one."""


@dataclass(frozen=True)
class Found:
    """How many rollouts there are within the steps, and how many of them match."""

    total: int
    matching: int
    has_rewards: bool
    detail: str
    """What the algorithm's own number is called; empty when there is none."""
    equal_groups: int
    fault: str
    unread: int
    """Steps whose rollouts are not in the list yet."""

    @property
    def is_many(self) -> bool:
        return self.matching > COUNTED


@login_required
@require_http_methods(["GET", "POST"])
def rollouts(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """A POST takes the mask off the opened rollout, for this answer alone."""
    run, context = read_head(request, project, number, "rollouts")
    files = find_rollout_files(run)
    steps = choose_step(files, request.GET.get("step", ""))
    if steps is None:
        return render(request, "runs/rollouts.html", context)
    whole = any(request.GET.get(name) for name in RANGE)
    wish = read_rollout_wish(request.GET)
    if not whole:
        wish = replace(wish, first=steps.shown.step, last=steps.shown.step)
    files = within(files, wish)
    unread = list_missing(files, seconds=PATIENCE)
    found = RolloutList(run, wish)
    list_query = _keep(request.GET, *KEPT, step=None if whole else steps.shown.step)
    if request.GET.get("pick") == "random":
        picked = found.pick()
        opened = f"open={name_place(picked, whole=whole)}" if picked else ""
        return redirect(f"{request.path}?{list_query}{opened}")
    place: Place | None = read_place(request.GET.get("open", ""), steps.shown.step)
    at = find_row(run, place) if place else None
    page = found.page(
        after=read_key(request.GET.get("after", "")), before=read_key(request.GET.get("before", "")), at=at
    )
    if place is None and page.rows:
        at = page.rows[0]
        place = (at.step, at.group, at.index)
    mask = find_mask_of_run(run)
    for line in page.rows:
        line.answer, line.prompt.question = mask.apply(line.answer), mask.apply(line.prompt.question)
    view = request.GET.get("view", "")
    view = view if view in {"group", "tokens"} else ""
    context |= {
        "steps": steps,
        "file": steps.shown,
        "whole": whole,
        "wish": wish,
        "page": page,
        "flags": [(name, label, name in wish.flags) for name, (label, _) in FLAGS.items() if name not in HIDDEN_FLAGS],
        "labels": list(LABELS.items()),
        "stops": list(STOPS.items()),
        "counts": {"masked": steps.shown.masked, "cut": steps.shown.truncated},
        "legend": LEGEND,
        "view": view,
        "step_query": _keep(request.GET, *FILTERS, "view"),
        "list_query": list_query,
        "page_query": _keep(request.GET, *KEPT, "view", step=None if whole else steps.shown.step),
        "stay": _keep(request.GET, *PAGES),
        "filter_query": _keep(request.GET, *KEPT, step=None if whole else steps.shown.step).rstrip("&"),
        "most_counted": COUNTED,
        "at": at,
        "pick_query": _keep(
            request.GET, *(name for name in KEPT if name != "sort"), step=None if whole else steps.shown.step
        ),
        "open": "",
    }
    if place is not None:
        unmasked = request.method == "POST" and _unmask(request, run, place)
        context |= {"unmasked": unmasked, "may_unmask": may(request.user, "datasets.change", run.project)}
        bare = Mask() if unmasked else mask
        context |= open_rollout(run, files, found, place, at, whole=whole, view=view, query=request.GET, mask=bare)
    context["found"] = summarise(run, files, found, wish, unread, whole=whole, detail=context.get("detail", ""))
    context["sorts"] = list_sorts(context["found"], whole=whole)
    return render(request, "runs/rollouts.html", context)


def _unmask(request: HttpRequest, run: Run, place: Place) -> bool:
    step, group, index = place
    try:
        unmask_rollout(
            run, step=step, group=group, index=index, reason=request.POST.get("reason", ""), actor=request.user
        )
    except UnmaskRefused as refused:
        messages.error(request, str(refused))
        return False
    return True


HIDDEN_FLAGS = {"masked", "trained", "cut"}
"""Flags that the form offers by other fields."""


def within(files: QuerySet[RolloutFile], wish: RolloutWish) -> QuerySet[RolloutFile]:
    """The files of the steps that are wished for."""
    bounds = {"step__gte": wish.first, "step__lte": wish.last}
    return files.filter(**{name: value for name, value in bounds.items() if value is not None})


def summarise(
    run: Run, files: QuerySet[RolloutFile], found: RolloutList, wish: RolloutWish, unread: int, *, whole: bool,
    detail: str,
) -> Found:  # fmt: skip
    rows = RolloutList(run, RolloutWish(first=wish.first, last=wish.last)).rows
    total = files.aggregate(total=Sum("rollouts"))["total"] or 0 if whole else rows.count()
    faults = list(files.exclude(fault="").order_by("step").values_list("fault", flat=True)[:4])
    more = " There are further steps of which not all could be read." if len(faults) > 3 else ""
    return Found(
        total=total,
        matching=found.count() if wish.is_filtered else total,
        has_rewards=rows.filter(reward__isnull=False).exists() or wish.low is not None or wish.high is not None,
        detail=detail,
        equal_groups=0 if whole else count_equal_groups(rows),
        fault=" ".join(faults[:3]) + more,
        unread=unread,
    )


def list_sorts(found: Found, *, whole: bool) -> list[tuple[str, str]]:
    """Orders by their name in the address."""
    first = [("", "First step first"), ("-place", "Latest step first")] if whole else [("", "By prompt")]
    named = [
        (name, found.detail.replace("_", " ").capitalize() if name == "detail" else label)
        for name, (label, column) in SORTS.items()
        if column and (name != "detail" or found.detail)
    ]
    return first + [
        (f"{sign}{name}", f"{label}, {word} first")
        for name, label in named
        for sign, word in (("-", "highest"), ("", "lowest"))
    ]


def open_rollout(
    run: Run,
    files: QuerySet[RolloutFile],
    found: RolloutList,
    place: Place,
    row: RolloutRow | None,
    *,
    whole: bool,
    view: str,
    query: QueryDict,
    mask: Mask,
) -> dict[str, Any]:
    """The rollouts of the opened one's prompt; the neighbours of the opened one in the list as it is filtered."""
    step, group, index = place
    file = files.filter(step=step).first()
    stored, fault = read_group(file, group) if file else ([], "")
    bare = stored
    stored = [mask_rollout(each, mask) for each in bare]
    weights = read_weights(run.snapshot, file.stage) if file else {}
    most = MOST_TOKENS_IN_GROUP if view == "group" else MOST_TOKENS
    views = view_group(stored, weights=weights, most=most)
    one = next((view for view in views if view.stored.index == index), None)
    listed = row is not None and found.rows.filter(pk=row.pk).exists()
    context: dict[str, Any] = {
        "open": f"{step}.{group}.{index}" if whole else f"{group}.{index}",
        "open_step": step,
        "prefix": f"{step}." if whole else "",
        "views": views,
        "one": one,
        "covered": bool(mask) and stored != bare,
        "group": read_group_facts(run, step, group) if file else GroupFacts(group),
        "missing": "" if views else fault or f"Step {step:,} has no rollout {group}.{index}.",
        "detail": next((view.detail_name for view in views if view.detail_name), ""),
        "before": "",
        "after": "",
    }
    if listed and row is not None:
        before, after = found.preceding(row, 1), found.following(row, 1)
        context["before"] = name_place(before[0], whole=whole) if before else ""
        context["after"] = name_place(after[0], whole=whole) if after else ""
        if view == "group":
            context["group_before"] = name_other_group(found.preceding(row, MOST_IN_GROUP)[::-1], row, whole=whole)
            context["group_after"] = name_other_group(found.following(row, MOST_IN_GROUP), row, whole=whole)
    if one is not None and file is not None and view != "group":
        context |= show_one(file, one, view=view, query=query, mask=mask)
    return context


MOST_IN_GROUP = 130
"""Rows that are looked through for another prompt."""


def show_one(file: RolloutFile, one: RolloutView, *, view: str, query: QueryDict, mask: Mask) -> dict[str, Any]:
    """The opened rollout as a conversation, or token by token."""
    calls, fault = read_calls_of(file, one.place)
    calls = [mask_call(call, mask) for call in calls]
    context: dict[str, Any] = {
        "rollout": {"step": file.step, "group": one.stored.group, "index": one.stored.index},
        "reasons": list_reasons(one.stored, calls),
        "calls": calls,
        "calls_fault": fault,
    }
    if view == "tokens":
        context["token_page"] = read_token_page(one.stored, read_number(query.get("at", "")) or 0)
    else:
        context["prompt_parts"] = split_prompt(one.prompt)
        context["turns"] = split_turns(one.stored, calls, most=MOST_TOKENS)
    return context


def read_calls_of(file: RolloutFile, place: str) -> tuple[list[StoredToolCall], str]:
    """The calls of a rollout, with what is wrong with their file."""
    calls: list[StoredToolCall] = []
    try:
        calls.extend(read_step_calls(file, [place]))
    except CallsUnreadable as error:
        return calls, f"The tool calls are not all known: {error}."
    return calls, ""


@login_required
@require_GET
def rollouts_file(request: HttpRequest, project: str, number: int, step: int) -> FileResponse:
    """The rollouts of a step as the trainer wrote them, with personal data masked."""
    run = find_run(request.user, project, number)
    file = find_rollout_files(run).filter(step=min(step, 2**31 - 1)).first()
    path = find_file(file) if file else None
    try:
        if file is None or path is None:
            raise FileNotFoundError
        packed: IO[bytes] = write_masked(file, find_mask_of_run(run)) or path.open("rb")
    except OSError as error:
        raise Http404(f"There is no file with rollouts of step {step}.") from error
    name = f"{project}-run-{run.number}-step-{step}.jsonl.zst"
    return FileResponse(packed, as_attachment=True, filename=name, content_type="application/zstd")


@login_required
@require_GET
def rollouts_export(request: HttpRequest, project: str, number: int) -> StreamingHttpResponse:
    """Every rollout that the filter names, step after step, one in a line."""
    run = find_run(request.user, project, number)
    wish = read_rollout_wish(request.GET)
    if (step := read_number(request.GET.get("step", ""))) is not None:
        wish = replace(wish, first=step, last=step)
    list_missing(within(find_rollout_files(run), wish))
    lines = export_rollouts(run, wish)
    response = StreamingHttpResponse(lines, content_type="application/x-ndjson; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{project}-run-{run.number}-rollouts.jsonl"'
    return response


@login_required
@require_GET
def call_text(
    request: HttpRequest, project: str, number: int, step: int, place: str, call: int, part: str
) -> HttpResponse:
    """All that a call was given, or gave, as plain text: no browser may take it for anything else."""
    run = find_run(request.user, project, number)
    file = find_rollout_files(run).filter(step=min(step, 2**31 - 1)).first()
    calls = read_calls_of(file, place)[0] if file else []
    if call >= len(calls) or part not in {"arguments", "output"}:
        raise Http404("There is no such call.")
    shown = mask_call(calls[call], find_mask_of_run(run))
    text = shown.arguments if part == "arguments" else shown.output
    response = HttpResponse(text.encode("utf-8", "replace"), content_type="text/plain; charset=utf-8")
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def choose_step(files: QuerySet[RolloutFile], asked: str) -> Steps | None:
    """The step that the address names, or the nearest before it that stored rollouts; the latest without one."""
    stored = files.order_by("step")
    latest, first = stored.last(), stored.first()
    if latest is None or first is None:
        return None
    shown, note = latest, ""
    wanted = read_number(asked)
    if wanted is not None:
        shown = stored.filter(step__lte=wanted).last() or first
        if shown.step != wanted:
            note = f"Step {wanted:,} stored no rollouts; those of step {shown.step:,} are shown."
    elif asked:
        note = f"“{asked[:20]}” is no step; the latest is shown."
    before, after = stored.filter(step__lt=shown.step).last(), stored.filter(step__gt=shown.step).first()
    return Steps(
        shown,
        before.step if before else None,
        after.step if after else None,
        first.step,
        latest.step,
        note,
    )


def read_place(text: str, step: int) -> Place | None:
    """`12.3.1` as step, group and place within it, `3.1` as of this step; None for anything else."""
    numbers = read_numbers(text)
    if numbers is None or len(numbers) not in (2, 3):
        return None
    *given, group, index = numbers
    return (given[0] if given else step, group, index)


def name_place(row: RolloutRow, *, whole: bool) -> str:
    return f"{row.step}.{row.group}.{row.index}" if whole else f"{row.group}.{row.index}"


def name_other_group(rows: list[RolloutRow], row: RolloutRow, *, whole: bool) -> str:
    """The first of the rows that is of another prompt."""
    other = (one for one in rows if (one.step, one.group) != (row.step, row.group))
    return next((name_place(one, whole=whole) for one in other), "")


def find_row(run: Run, place: Place) -> RolloutRow | None:
    """The row of a place, whether or not the filter admits it."""
    rows = RolloutList(run, RolloutWish(first=place[0], last=place[0], group=place[1])).rows
    return rows.filter(index=place[2]).first()


def _keep(query: QueryDict, *names: str, step: int | None = None) -> str:
    """These parts of the address, ready to be followed by another. The step is named even where the address did not:

    a later one may be stored before the link is followed.
    """
    kept = QueryDict(mutable=True)
    if step is not None:
        kept["step"] = str(step)
    for name in names:
        if values := [str(value) for value in query.getlist(name) if value]:
            kept.setlist(name, values if name == "flag" else values[-1:])
    return f"{kept.urlencode()}&" if kept else ""
