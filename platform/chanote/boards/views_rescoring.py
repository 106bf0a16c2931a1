"""The page that has stored answers scored anew."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from chanote.accounts.roles import require
from chanote.boards.forms import RescoringForm
from chanote.boards.models import Board, Evaluation
from chanote.boards.rescoring import find_fitting_tasks, start_rescoring
from chanote.boards.services import BoardError
from chanote.web.projects import get_project


@login_required
@require_http_methods(["GET", "POST"])
def rescoring(request: HttpRequest, project: str, number: int) -> HttpResponse:
    found = get_project(request, project)
    evaluations = Evaluation.objects.select_related("task__dataset_version", "model", "project").defer("scores")
    evaluation = get_object_or_404(evaluations, project=found, pk=number)
    require(request.user, "boards.change", found)
    tasks = find_fitting_tasks(evaluation)
    board = Board.objects.filter(project=found, slug=request.GET.get("board", "")).first()
    form = RescoringForm(request.POST or None, tasks=tasks, project=found, initial={"board": board})
    if request.method == "POST" and form.is_valid():
        try:
            errand = start_rescoring(evaluation, actor=request.user, **form.cleaned_data)
        except BoardError as error:
            form.add_error("task", str(error))
        else:
            return redirect("errand", found.slug, errand.pk)
    context = {"project": found, "evaluation": evaluation, "form": form, "tasks": tasks}
    return render(request, "boards/rescoring.html", context, status=422 if form.is_bound else 200)
