"""Buttons of a run: each calls the service of its verb and says what came of it."""

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from chanote.accounts.roles import require
from chanote.runs.live import find_run
from chanote.runs.models import Run
from chanote.runs.services import RunRefused, cancel_run, move_run, resume_run, retry_run, stop_run
from chanote.web.numbers import read_key, read_number
from chanote.web.projects import get_project


def _find(request: HttpRequest, project: str, number: int, permission: str = "runs.launch") -> Run:
    found = get_project(request, project)
    run = find_run(request.user, project, number)
    require(request.user, permission, found)
    return run


def _perform(request: HttpRequest, run: Run, act: Callable[[], object], said: str) -> HttpResponse:
    try:
        act()
    except RunRefused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, said)
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = reverse("run", args=[run.project.slug, run.number])
    return redirect(target)


@login_required
@require_POST
def stop(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run = _find(request, project, number)
    said = f"{run.name} saves a checkpoint and stops; it can be resumed from there."
    return _perform(request, run, lambda: stop_run(run, actor=request.user), said)


@login_required
@require_http_methods(["GET", "POST"])
def cancel(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """A GET asks first, for readers without script; with script the page asks in a dialog."""
    run = _find(request, project, number)
    if request.method == "GET":
        return render(request, "runs/cancel.html", {"project": run.project, "run": run})
    reason = request.POST.get("reason", "").strip()[:500]
    return _perform(
        request, run, lambda: cancel_run(run, actor=request.user, reason=reason), f"{run.name} is being cancelled."
    )


@login_required
@require_POST
def resume(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run = _find(request, project, number)
    checkpoint = None
    if wanted := request.POST.get("checkpoint", ""):
        checkpoint = get_object_or_404(run.checkpoints, pk=read_key(wanted))
    said = f"{run.name} waits in the queue to continue from "
    said += f"step {checkpoint.step:,}." if checkpoint else "its newest checkpoint."
    return _perform(request, run, lambda: resume_run(run, actor=request.user, checkpoint=checkpoint), said)


@login_required
@require_POST
def retry(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run = _find(request, project, number)
    said = f"{run.name} waits in the queue to start again from its first step."
    return _perform(request, run, lambda: retry_run(run, actor=request.user), said)


@login_required
@require_POST
def move(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run = _find(request, project, number, "runs.order_queue")
    position = read_number(request.POST.get("position", "")) or 0
    return _perform(
        request,
        run,
        lambda: move_run(run, actor=request.user, position=position),
        f"{run.name} is number {position} in the queue.",
    )
