"""The home page over all projects, and the same of one project."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from chanote.accounts.models import Project
from chanote.accounts.roles import may
from chanote.tools.health import look
from chanote.web.home import count_slots, describe_home
from chanote.web.projects import get_project


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    projects = list(Project.objects.visible_to(request.user))
    return _show(request, projects, projects[0] if len(projects) == 1 else None)


@login_required
@require_GET
def project_home(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    return _show(request, [found], found)


def _show(request: HttpRequest, projects: list[Project], one: Project | None) -> HttpResponse:
    context: dict[str, Any] = {"projects": projects, "slots": count_slots(), "health": look()}
    if projects:
        context |= describe_home(request.user, projects, one=one)  # type: ignore[arg-type]
    if one is not None:
        context |= {"project": one, "may_launch": may(request.user, "runs.launch", one)}
    return render(request, "web/home.html", context)
