"""Pages of the ready-made tasks."""

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from chanote.accounts.roles import may, require
from chanote.boards.library import find_ready_task, freeze_ready_task, list_ready_tasks
from chanote.boards.services import BoardError
from chanote.datasets.models import DatasetVersion
from chanote.web.projects import get_project


@login_required
@require_GET
def library(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    return render(request, "boards/library.html", {"project": found, "tasks": list_ready_tasks(found)})


@login_required
@require_http_methods(["GET", "POST"])
def ready_task(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """One task as it stands, and the button that freezes it on the project's rows."""
    found = get_project(request, project)
    try:
        task = find_ready_task(found, name)
    except KeyError as error:
        raise Http404(f"the library has no task {name}") from error
    problem = ""
    if request.method == "POST":
        require(request.user, "boards.change", found)
        try:
            frozen = freeze_ready_task(found, name, actor=request.user)
            return redirect("boards:task", found.slug, frozen.slug, frozen.number)
        except (DatasetVersion.DoesNotExist, BoardError) as error:
            problem = f"{str(error).rstrip('.')}."
    context = {
        "project": found,
        "task": task,
        "problem": problem,
        "may_change": may(request.user, "boards.change", found),
    }
    return render(request, "boards/ready_task.html", context, status=422 if problem else 200)
