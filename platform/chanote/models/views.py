"""Pages of the models."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chanote.accounts.models import Project
from chanote.accounts.roles import may, require
from chanote.datasets.models import Use
from chanote.models.errors import ModelRefused
from chanote.models.forms import DescribeForm, RegisterForm
from chanote.models.lineage import trace_lineage
from chanote.models.models import Model, Origin
from chanote.models.selectors import has_files, models_with_counts
from chanote.models.services import describe_model, register_checkpoint, register_directory, register_hub_model
from chanote.rights.terms import trace_terms
from chanote.runs.models import Checkpoint
from chanote.web.projects import get_project

TERMS = ("uses", "non_commercial", "terms")


@login_required
@require_GET
def model_list(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    models = models_with_counts(Model.objects.visible_to(request.user).filter(project=found))
    return render(
        request,
        "models/list.html",
        {"project": found, "models": models, "may_register": may(request.user, "models.register", found)},
    )


@login_required
@require_GET
def model_detail(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    model = _find_model(request, project, slug)
    return render(
        request,
        "models/detail.html",
        {
            "project": model.project,
            "model": model,
            "lineage": trace_lineage(model),
            "traced": trace_terms(model),
            "exceptions": model.exceptions.select_related("requested_by", "decided_by"),
            "children": model.children.order_by("-created"),
            "runs": model.runs.order_by("-created")[:50],
            "is_here": has_files(model),
            "may_register": may(request.user, "models.register", model.project),
        },
    )


@login_required
@require_http_methods(["GET", "POST"])
def model_register(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    require(request.user, "models.register", found)
    form = RegisterForm(request.POST or None, project=found, initial={"uses": Use.values})
    if request.method == "POST" and form.is_valid():
        try:
            model = _register(request, found, form)
        except ModelRefused as refusal:
            for problem in refusal.problems:
                form.add_error(problem.field if problem.field in form.fields else None, problem.message)
        else:
            messages.success(request, f"Registered {model.slug}.")
            return redirect(model.get_absolute_url())
    return render(request, "models/register.html", {"project": found, "form": form}, status=_status(form))


def _register(request: HttpRequest, project: Project, form: RegisterForm) -> Model:
    asked = form.cleaned_data
    common: dict[str, Any] = {
        "project": project,
        "actor": request.user,
        **{name: asked[name] for name in ("slug", "title", "licence", "description", *TERMS)},
    }
    if asked["origin"] == Origin.HUB:
        return register_hub_model(hub_name=asked["hub_name"], revision=asked["revision"] or "main", **common)
    return register_directory(path=asked["path"], parent=asked["parent"], **common)


@login_required
@require_http_methods(["GET", "POST"])
def model_edit(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    model = _find_model(request, project, slug)
    require(request.user, "models.register", model.project)
    initial = {name: getattr(model, name) for name in ("title", "licence", "description", *TERMS)}
    form = DescribeForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            describe_model(model, actor=request.user, **form.cleaned_data)
        except (ValidationError, PermissionDenied) as error:
            form.add_error(None, error if isinstance(error, ValidationError) else str(error))
        else:
            return redirect(model.get_absolute_url())
    return render(
        request,
        "models/edit.html",
        {"project": model.project, "model": model, "form": form},
        status=_status(form),
    )


@login_required
@require_POST
def model_from_checkpoint(request: HttpRequest, project: str, checkpoint: int) -> HttpResponse:
    """The button beside a checkpoint on its run's page."""
    found = get_project(request, project)
    require(request.user, "models.register", found)
    one = get_object_or_404(Checkpoint.objects.visible_to(request.user), pk=checkpoint, run__project=found)
    try:
        model = register_checkpoint(one, actor=request.user)
    except ModelRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("run", found.slug, one.run.number)
    return redirect(model.get_absolute_url())


def _find_model(request: HttpRequest, project: str, slug: str) -> Model:
    found = get_project(request, project)
    models = Model.objects.visible_to(request.user).select_related("parent", "created_by")
    model = get_object_or_404(models, project=found, slug=slug)
    model.project = found
    return model


def _status(form: Any) -> int:
    return 422 if form.is_bound else 200
