"""Pages of requests for exception: the list, a new one, one with its decision."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from chanote.accounts.roles import may, require
from chanote.rights.exceptions import (
    RightsRefused,
    approve_exception,
    refuse_exception,
    request_exception,
    revoke_exception,
    take_back_exception,
)
from chanote.rights.forms import DecisionForm, ExceptionForm
from chanote.rights.models import ExceptionRequest, State
from chanote.rights.rules import judge_model, judge_version
from chanote.rights.views import PER_PAGE, status_of, tell
from chanote.runs.models import Run
from chanote.web.projects import get_project

ASKED = ExceptionRequest.objects.select_related(
    "requested_by", "decided_by", "ended_by", "version__dataset__project", "model__project"
)


@login_required
@require_GET
def exception_list(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    wanted = request.GET.get("state", "")
    every = ASKED.filter(project=found)
    if wanted in State.values:
        every = every.filter(state=wanted)
    page = Paginator(every, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": found,
        "page": page,
        "wanted": wanted,
        "states": State.choices,
        "waiting": ExceptionRequest.objects.filter(project=found, state=State.WAITING).count(),
        "may_request": may(request.user, "rights.request", found),
    }
    return render(request, "rights/exceptions.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def exception_new(request: HttpRequest, project: str) -> HttpResponse:
    """The form; a refusal's link fills in what is asked for."""
    found = get_project(request, project)
    require(request.user, "rights.request", found)
    asked = {name: request.GET.get(name, "") for name in ("version", "model", "use")}
    form = ExceptionForm(
        request.POST or None, project=found, initial={key: text for key, text in asked.items() if text}
    )
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            made = request_exception(
                project=found,
                actor=request.user,
                **{name: given[name] for name in ("subject", "use", "reason", "until")},
            )
        except RightsRefused as refused:
            tell(form, refused)
        else:
            messages.success(request, "Asked for. Somebody else who may decide on rights has to approve it.")
            return redirect(made.get_absolute_url())
    return render(request, "rights/exception_new.html", {"project": found, "form": form}, status=status_of(form))


@login_required
@require_http_methods(["GET", "POST"])
def exception_detail(request: HttpRequest, project: str, number: int) -> HttpResponse:
    found = get_project(request, project)
    asked = get_object_or_404(ASKED, project=found, pk=number)
    asked.project = found
    form = DecisionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            _act(request, asked, form.cleaned_data["note"])
        except RightsRefused as refused:
            tell(form, refused)
        else:
            return redirect(asked.get_absolute_url())
    judge: Any = judge_version if asked.version_id else judge_model
    own = asked.requested_by_id == request.user.pk
    context = {
        "project": found,
        "asked": asked,
        "form": form,
        "refusals": judge(asked.subject, asked.use).refusals,
        "runs": [
            run
            for run in Run.objects.filter(project=found, snapshot__has_key="exceptions").order_by("-number")
            if _passed(run, asked)
        ],
        "own": own,
        "may_decide": not own and may(request.user, "rights.decide", found),
        "may_revoke": may(request.user, "rights.decide", found),
    }
    return render(request, "rights/exception.html", context, status=status_of(form))


def _passed(run: Run, asked: ExceptionRequest) -> bool:
    return any(one.get("id") == asked.pk for one in run.snapshot.get("exceptions", []))


def _act(request: HttpRequest, asked: ExceptionRequest, note: str) -> None:
    match request.POST.get("do"):
        case "approve":
            approve_exception(asked, note=note, actor=request.user)
        case "refuse":
            refuse_exception(asked, note=note, actor=request.user)
        case "revoke":
            revoke_exception(asked, reason=note, actor=request.user)
        case _:
            take_back_exception(asked, actor=request.user)
