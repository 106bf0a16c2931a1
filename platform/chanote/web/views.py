"""The home page and the page of a project."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from chanote.web.projects import get_project


@login_required
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "web/home.html")


@login_required
@require_GET
def project_home(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    return render(request, "web/home.html", {"project": found})
