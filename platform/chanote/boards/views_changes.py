"""Pages on change: over training, against a baseline on every task, and names that a gate guards."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chanote.accounts.roles import may, require
from chanote.boards.aliases import AliasKept, create_alias, find_task_of, move_alias, set_suite
from chanote.boards.changes import check_suite, pair_evaluations, read_map
from chanote.boards.curve_drawing import draw_curve
from chanote.boards.forms import MoveAliasForm, NewAliasForm, SuiteForm
from chanote.boards.models import Alias, Board, Task
from chanote.boards.over_training import read_curve, runs_with_curves, word_curve
from chanote.boards.pages import CLAIMS, word_estimate
from chanote.boards.selectors import read_board
from chanote.boards.services import BoardError
from chanote.boards.statistics.equivalence import Retention
from chanote.boards.statistics.wording import ONE_RUN_EACH, word_number
from chanote.boards.table import unit_of
from chanote.web.projects import get_project

LOOKS = {
    Retention.KEPT: ("Kept", "check", "ok"),
    Retention.KEPT_BUT_WORSE: ("Worse within the margin", "down", "warn"),
    Retention.LOST: ("Lost", "down", "failed"),
    Retention.UNDECIDED: ("Undecided", "info", "draft"),
}
"""An outcome's word, icon and look."""


@login_required
@require_GET
def curve(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    """One run's checkpoints on one task."""
    board = _find_board(request, project, slug)
    tasks = list(Task.objects.filter(evaluations__boards=board).distinct())
    wanted = request.GET.get("task", "")
    known = {task.reference: (task, runs_with_curves(board, task)) for task in tasks}
    with_runs = [reference for reference, (_, runs) in known.items() if runs]
    if wanted and wanted not in known:
        raise Http404(f"the board has no task {wanted}")
    reference = wanted or next(iter(with_runs), "")
    context: dict[str, Any] = {"project": board.project, "board": board, "tasks": with_runs, "reference": reference}
    if reference:
        task, runs = known[reference]
        number = request.GET.get("run", "")
        run = next((one for one in runs if str(one.number) == number), None if number else next(iter(runs), None))
        if number and run is None:
            raise Http404(f"run {number} has no curve on {reference}")
        found = read_curve(board, task, run) if run is not None else None
        context |= {"task": task, "runs": runs, "run": run, "unit": unit_of(task)}
        if found is not None:
            unit = unit_of(task)
            rows = [
                (
                    point,
                    word_estimate(point.estimate, unit),
                    CLAIMS[point.against_first.verdict] if point.against_first else None,
                    ""
                    if point.against_first is None or point.against_first.delta is None
                    else word_number(point.against_first.delta, point.against_first.error, scale=unit.scale, sign=True),
                )
                for point in found.points
            ]
            context |= {"curve": found, "drawing": draw_curve(found), "sentences": word_curve(found), "rows": rows}
    return render(request, "boards/curve.html", context)


@login_required
@require_GET
def changes(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    """Every model against a baseline on every task, and what one of them has forgotten."""
    board = _find_board(request, project, slug)
    content = read_board(board, baseline=request.GET.get("baseline", ""))
    models = sorted(content.tables.models())
    context: dict[str, Any] = {
        "project": board.project,
        "board": board,
        "content": content,
        "models": models,
        "note": ONE_RUN_EACH,
    }
    if content.baseline:
        found = read_map(content)
        context |= {"map": found, "units": [unit_of(task) for task in found.tasks]}
        model = request.GET.get("model", "")
        if model and model not in models:
            raise Http404(f"the board has no model {model}")
        if model and model != content.baseline:
            kept = check_suite(pair_evaluations(content, model, content.baseline), new=model, old=content.baseline)
            context |= {"model": model, "kept": [(one, LOOKS[one.outcome]) for one in kept]}
    return render(request, "boards/changes.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def aliases(request: HttpRequest, project: str) -> HttpResponse:
    """Names of the project, where they point, and the form to make another."""
    found = get_project(request, project)
    changer = may(request.user, "boards.change", found)
    form = NewAliasForm(request.POST or None, project=found)
    if request.method == "POST":
        require(request.user, "boards.change", found)
        if form.is_valid():
            try:
                create_alias(project=found, actor=request.user, **form.cleaned_data)
                return redirect("boards:aliases", found.slug)
            except BoardError as error:
                form.add_error("name", str(error))
            except ValidationError as error:
                form.add_error(None, error)
    names = Alias.objects.filter(project=found).select_related("model", "guard", "changed_by")
    context = {"project": found, "aliases": names, "form": form, "may_change": changer}
    return render(request, "boards/aliases.html", context, status=422 if form.is_bound else 200)


@login_required
@require_http_methods(["GET", "POST"])
def alias(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """One name: move it to a model, or read why it stays."""
    found = get_project(request, project)
    one = get_object_or_404(Alias.objects.select_related("model", "guard"), project=found, name=name)
    form = MoveAliasForm(request.POST or None, project=found)
    context: dict[str, Any] = {"project": found, "alias": one, "form": form, "suite_form": _make_suite_form(one)}
    context["may_change"] = may(request.user, "boards.change", found)
    if request.method == "POST":
        require(request.user, "boards.change", found)
        if form.is_valid():
            model = form.cleaned_data["model"]
            try:
                report = move_alias(one, model, actor=request.user)
                context |= {"passed": model, "against": report.against, "found": report.found}
            except AliasKept as kept:
                context |= {"refused": str(kept), "tried": model, "found": kept.found}
            except BoardError as error:
                form.add_error("model", str(error))
    context["found"] = [(row, LOOKS[row.outcome]) for row in context.get("found", [])]
    refused = form.errors or "refused" in context
    return render(request, "boards/alias.html", context, status=422 if form.is_bound and refused else 200)


@login_required
@require_POST
def suite(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """Set the guard suite of a name."""
    found = get_project(request, project)
    one = get_object_or_404(Alias.objects.select_related("model", "guard"), project=found, name=name)
    require(request.user, "boards.change", found)
    form = _make_suite_form(one, request.POST)
    if form.is_valid():
        try:
            against_base = form.cleaned_data["against"] == "base"
            set_suite(one, form.read_suite(), against_base=against_base, actor=request.user)
            return redirect("boards:alias", found.slug, one.name)
        except BoardError as error:
            form.add_error(None, str(error))
    context = {"project": found, "alias": one, "form": MoveAliasForm(project=found), "suite_form": form}
    return render(request, "boards/alias.html", {**context, "may_change": True}, status=422)


def _make_suite_form(alias: Alias, data: Any = None) -> SuiteForm:
    """Over the tasks that the guard board shows, and those that the suite names already."""
    tasks = {task.reference: task for task in Task.objects.filter(evaluations__boards=alias.guard).distinct()}
    for name in alias.suite:
        if name not in tasks and (task := find_task_of(alias.project, name)) is not None:
            tasks[name] = task
    return SuiteForm(data, alias=alias, tasks=[tasks[name] for name in sorted(tasks)])


def _find_board(request: HttpRequest, project: str, slug: str) -> Board:
    boards = Board.objects.select_related("project", "baseline").filter(project=get_project(request, project))
    return get_object_or_404(boards, slug=slug)
