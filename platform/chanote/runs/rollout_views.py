"""The rollouts tab of a run: a step, its rollouts as a list, one of them open, or all of one prompt side by side."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_GET

from chanote.runs.lineage import find_rollout_files
from chanote.runs.live import find_run
from chanote.runs.models import RolloutFile, Run
from chanote.runs.rollout_files import find_file, read_group
from chanote.runs.rollout_list import PER_PAGE, SORTS, Line, StepList, list_step, read_rollout_wish
from chanote.runs.rollout_view import LEGEND, MOST_TOKENS, MOST_TOKENS_IN_GROUP, read_weights, view_group
from chanote.runs.views import read_head

KEPT = ("q", "gradient", "ending", "low", "high", "sort")
"""Parts of the address that hold while one goes from step to step."""


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


@login_required
@require_GET
def rollouts(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run, context = read_head(request, project, number, "rollouts")
    files = find_rollout_files(run)
    steps = choose_step(files, request.GET.get("step", ""))
    if steps is None:
        return render(request, "runs/rollouts.html", context)
    wish = read_rollout_wish(request.GET)
    found = list_step(steps.shown, wish)
    opened = read_place(request.GET.get("open", ""))
    page = find_page(found.lines, request.GET.get("page"), opened)
    side_by_side = request.GET.get("view") == "group"
    if opened is None and page.object_list:
        opened = (page.object_list[0].group, page.object_list[0].index)
    context |= {
        "steps": steps,
        "file": steps.shown,
        "wish": wish,
        "sorts": [
            (name, found.detail.replace("_", " ").capitalize() if name == "detail" else label)
            for name, (label, _) in SORTS.items()
            if name != "detail" or found.detail
        ],
        "sort": f"{'-' if wish.descending else ''}{wish.sort}",
        "found": found,
        "page": page,
        "flags": {"masked": steps.shown.masked, "cut": steps.shown.truncated},
        "legend": LEGEND,
        "view": "group" if side_by_side else "",
        "step_query": _keep(request.GET, *KEPT, "view"),
        "list_query": _keep(request.GET, *KEPT, step=steps.shown.step),
        "page_query": _keep(request.GET, *KEPT, "view", step=steps.shown.step),
        "hidden": [("view", "group")] if side_by_side else [],
    }
    if opened is not None:
        context |= _open(run, steps.shown, found, opened, side_by_side=side_by_side)
    return render(request, "runs/rollouts.html", context)


def _open(
    run: Run, file: RolloutFile, found: StepList, opened: tuple[int, int], *, side_by_side: bool
) -> dict[str, Any]:
    """The rollouts of the opened one's prompt; the neighbours of the opened one in the list as it is filtered."""
    group, index = opened
    stored, fault = read_group(file, group)
    weights = read_weights(run.snapshot, file.stage)
    views = view_group(stored, weights=weights, most=MOST_TOKENS_IN_GROUP if side_by_side else MOST_TOKENS)
    places = [(line.group, line.index) for line in found.lines]
    at = places.index(opened) if opened in places else None
    groups = list(dict.fromkeys(line.group for line in found.lines))
    at_group = groups.index(group) if group in groups else None
    return {
        "open": f"{group}.{index}",
        "views": views,
        "one": next((view for view in views if view.stored.index == index), None),
        "group": found.groups.get(group),
        "missing": "" if views else fault or f"Step {file.step:,} has no rollout {group}.{index}.",
        "before": found.lines[at - 1].place if at else "",
        "after": found.lines[at + 1].place if at is not None and at + 1 < len(places) else "",
        "group_before": f"{groups[at_group - 1]}.0" if at_group else "",
        "group_after": f"{groups[at_group + 1]}.0" if at_group is not None and at_group + 1 < len(groups) else "",
    }


@login_required
@require_GET
def rollouts_file(request: HttpRequest, project: str, number: int, step: int) -> FileResponse:
    """The rollouts of a step as the trainer wrote them."""
    run = find_run(request.user, project, number)
    file = find_rollout_files(run).filter(step=min(step, 2**31 - 1)).first()
    path = find_file(file) if file else None
    try:
        if path is None:
            raise FileNotFoundError
        packed = path.open("rb")
    except OSError as error:
        raise Http404(f"There is no file with rollouts of step {step}.") from error
    name = f"{project}-run-{run.number}-step-{step}.jsonl.zst"
    return FileResponse(packed, as_attachment=True, filename=name, content_type="application/zstd")


def choose_step(files: QuerySet[RolloutFile], asked: str) -> Steps | None:
    """The step that the address names, or the nearest before it that stored rollouts; the latest without one."""
    stored = files.order_by("step")
    latest, first = stored.last(), stored.first()
    if latest is None or first is None:
        return None
    shown, note = latest, ""
    if asked.isdecimal() and len(asked) < 10:
        wanted = int(asked)
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


def read_place(text: str) -> tuple[int, int] | None:
    """`3.1` as group and place within it; None for anything else."""
    group, dot, index = text.partition(".")
    parts = (group, index)
    if not dot or not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        return None
    return int(group), int(index)


def find_page(lines: list[Line], asked: str | None, opened: tuple[int, int] | None) -> Page[Line]:
    """The page of the list that was asked for, else the one that holds the opened rollout."""
    pages = Paginator(lines, PER_PAGE)
    if asked is None and opened is not None:
        places = [(line.group, line.index) for line in lines]
        return pages.get_page(places.index(opened) // PER_PAGE + 1 if opened in places else 1)
    return pages.get_page(asked)


def _keep(query: QueryDict, *names: str, step: int | None = None) -> str:
    """These parts of the address, ready to be followed by another. The step is named even where the address did not:

    a later one may be stored before the link is followed.
    """
    kept = QueryDict(mutable=True)
    if step is not None:
        kept["step"] = str(step)
    for name in names:
        if value := query.get(name):
            kept[name] = str(value)
    return f"{kept.urlencode()}&" if kept else ""
