"""Pages about the judges of a board."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods

from chanote.accounts.roles import may, require
from chanote.boards.judging.battles import control_lengths, hold_tournament
from chanote.boards.judging.describe import name_kappa
from chanote.boards.judging.judges import compare_judges
from chanote.boards.judging.labels import PREFERENCES
from chanote.boards.judging.models import VotesFile
from chanote.boards.judging.pages import lay_out_judge, lay_out_judged, lay_out_lengths, lay_out_pair_of_judges
from chanote.boards.judging.recipes import compare_board_recipes
from chanote.boards.judging.selectors import (
    JudgedTask,
    can_be_labelled,
    choose_task,
    find_judged_tasks,
    find_next_to_label,
)
from chanote.boards.judging.services import MOST_BYTES, import_votes, label_answer
from chanote.boards.judging.votes import FORMATS
from chanote.boards.models import Board, Sample
from chanote.boards.selectors import calibrate_table, read_board
from chanote.boards.services import BoardError
from chanote.web.projects import get_project
from trainer.contract.judging import HIGHEST, LOWEST


class VotesForm(forms.Form):
    file = forms.FileField(
        widget=forms.ClearableFileInput(attrs={"class": "input"}), help_text="JSON lines, or a list."
    )
    model = forms.CharField(
        required=False,
        max_length=120,
        widget=forms.TextInput(attrs={"class": "input"}),
        help_text="Whose answers the votes are about, where the file does not say and the board has several.",
    )


@login_required
@require_http_methods(["GET", "POST"])
def judging(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    """How far the judges of a task agree with people, with each other and with themselves; and votes brought in."""
    board = _find_board(request, project, slug)
    found = find_judged_tasks(board)
    one = choose_task(found, request.GET.get("task", ""))
    if one is None and (request.GET.get("task") or request.method == "POST"):
        raise Http404("the board has no such judged task")
    form = VotesForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and one is not None:
        require(request.user, "boards.change", board.project)
        if form.is_valid() and (answer := _import(request, board, one, form)):
            return answer
    context: dict[str, Any] = {
        "project": board.project,
        "board": board,
        "tasks": [other.task.reference for other in found],
        "one": one,
        "form": form,
        "formats": FORMATS,
        "may_change": may(request.user, "boards.change", board.project),
        "may_label": may(request.user, "rollouts.label", board.project),
    }
    if one is not None:
        context |= _describe(board, one)
    return render(request, "boards/judging/judging.html", context, status=422 if form.is_bound else 200)


def _describe(board: Board, one: JudgedTask) -> dict[str, Any]:
    table = read_board(board).tables[one.task.reference]
    calibration = calibrate_table(table)
    assert calibration is not None
    judges, pairs = compare_judges(one.task, one.judging, one.evaluations, one.family)
    wins = one.judging.scale == "wins"
    lengths = control_lengths(one.evaluations) if wins else {}
    return {
        "table": table,
        "page": lay_out_judged(table, calibration),
        "judges": [lay_out_judge(judge) for judge in judges],
        "pairs": [lay_out_pair_of_judges(pair, name_kappa(calibration)) for pair in pairs],
        "wins": wins,
        "lengths": [
            lay_out_lengths(entry.name, lengths[entry.evaluation.pk])
            for entry in table.entries
            if entry.evaluation.pk in lengths
        ],
        "tournament": hold_tournament(one.judging, {one.task: one.evaluations, **one.others}),
        "files": VotesFile.objects.filter(task=one.task).select_related("created_by"),
        "can_be_labelled": can_be_labelled(one),
    }


def _import(request: HttpRequest, board: Board, one: JudgedTask, form: VotesForm) -> HttpResponse | None:
    file = form.cleaned_data["file"]
    try:
        if file.size > MOST_BYTES:
            raise BoardError(f"the file is larger than {MOST_BYTES // 2**20} MB; split it")
        made = import_votes(
            board=board,
            task=one.task,
            evaluations=one.evaluations,
            name=file.name,
            data=file.read(),
            model=form.cleaned_data["model"],
            actor=request.user,
        )
    except BoardError as error:
        form.add_error("file", str(error))
        return None
    messages.success(request, f"{made.taken:,} votes are taken. Not taken: {len(made.skipped):,}.")
    return redirect(_address("boards:judging", board, one))


@login_required
@require_http_methods(["GET", "POST"])
def label(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    """The next answer to label, without the model's name and without what the judge said."""
    board = _find_board(request, project, slug)
    one = choose_task(find_judged_tasks(board), request.GET.get("task", ""))
    if one is None:
        raise Http404("the board has no such judged task")
    require(request.user, "rollouts.label", board.project)
    fault = ""
    if request.method == "POST":
        sample = get_object_or_404(
            Sample.objects.select_related("evaluation__model"),
            pk=request.POST.get("sample") if request.POST.get("sample", "").isdecimal() else None,
            evaluation__in=[evaluation.pk for evaluation in one.evaluations],
        )
        try:
            label_answer(task=one.task, sample=sample, value=_read_value(request.POST, one), actor=request.user)
            return redirect(_address("boards:judging_label", board, one))
        except (KeyError, ValueError):
            fault = "Choose one of the answers to the question first."
    context = {
        "project": board.project,
        "board": board,
        "one": one,
        "fault": fault,
        "next": find_next_to_label(one, request.user),
        "grades": range(LOWEST, HIGHEST + 1),
        "lang": one.task.definition["x_language"],
        "can_be_labelled": can_be_labelled(one),
    }
    return render(request, "boards/judging/label.html", context, status=422 if fault else 200)


def _read_value(given: Any, one: JudgedTask) -> float:
    """Raises KeyError or ValueError where nothing on the scale was chosen."""
    said = given["label"]
    if one.judging.scale == "grade":
        return int(said) / HIGHEST
    # What stands first on the page is the opponent's answer where the page says that sides are turned.
    turned = {"a": "b", "b": "a"}
    return PREFERENCES[turned.get(said, said) if given.get("turned") == "yes" else said]


@login_required
@require_GET
def recipes(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    """Recipes against each other, by their runs with different seeds."""
    board = _find_board(request, project, slug)
    found = compare_board_recipes(board)
    chosen = next((one for one in found if one.task.reference == request.GET.get("task")), found[0] if found else None)
    context = {"project": board.project, "board": board, "tasks": [one.task.reference for one in found], "one": chosen}
    return render(request, "boards/judging/recipes.html", context)


def _address(name: str, board: Board, one: JudgedTask) -> str:
    return f"{reverse(name, args=[board.project.slug, board.slug])}?{urlencode({'task': one.task.reference})}"


def _find_board(request: HttpRequest, project: str, slug: str) -> Board:
    boards = Board.objects.select_related("project", "baseline").filter(project=get_project(request, project))
    return get_object_or_404(boards, slug=slug)
