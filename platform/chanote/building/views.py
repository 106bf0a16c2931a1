"""Pages of builds and endpoints."""

import json
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from chanote.accounts.roles import may, require
from chanote.building.forms import BuildForm, EndpointForm
from chanote.building.funnel import read_dropped, write_line
from chanote.building.kinds import find_kinds
from chanote.building.models import TeacherEndpoint
from chanote.building.selectors import find_build, find_step, list_builds, read_dropped_page
from chanote.building.services import SETTINGS, BuildRefused, remove_endpoint, save_endpoint, start_build
from chanote.tools.endpoints import find_endpoint
from chanote.web.projects import get_project

PER_PAGE = 50


@login_required
@require_GET
def builds(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    page = Paginator(list_builds(found), PER_PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "building/list.html",
        {
            "project": found,
            "page": page,
            "kinds": find_kinds(),
            "may_build": may(request.user, "datasets.change", found),
        },
    )


@login_required
@require_GET
def build_kinds(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    require(request.user, "datasets.change", found)
    return render(request, "building/kinds.html", {"project": found, "kinds": find_kinds().values()})


@login_required
@require_http_methods(["GET", "POST"])
def build_new(request: HttpRequest, project: str, kind: str) -> HttpResponse:
    found = get_project(request, project)
    require(request.user, "datasets.change", found)
    chosen = find_kinds().get(kind)
    if chosen is None:
        raise Http404(f"There is no kind of build {kind}.")
    initial = {name: request.GET[name] for name in chosen.config_class.model_fields if name in request.GET}
    form = BuildForm(request.POST or None, kind=chosen, project=found, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            build = start_build(
                project=found,
                kind=kind,
                config=form.config(),
                title=form.cleaned_data["title"],
                actor=request.user,
            )
        except BuildRefused as refused:
            show_problems(form, refused)
        else:
            return redirect(build)
    has_endpoint = TeacherEndpoint.objects.filter(project=found).exists()
    context = {
        "project": found,
        "kind": chosen,
        "form": form,
        "needs_endpoint": not has_endpoint and any("endpoint" in one.metadata for one in _fields(chosen)),
        "needs_sandbox": chosen.needs_sandbox and find_endpoint() is None,
    }
    return render(request, "building/new.html", context, status=_status(form))


@login_required
@require_GET
def build(request: HttpRequest, project: str, number: int) -> HttpResponse:
    found = get_project(request, project)
    one = find_build(found, number)
    kind = find_kinds().get(one.kind)
    context = {
        "project": found,
        "build": one,
        "errand": one.errand,
        "kind": kind,
        "config": _word_config(one.kind, one.config),
        "may_act": may(request.user, "datasets.change", found),
    }
    template = "building/_funnel.html" if request.headers.get("HX-Request") else "building/build.html"
    return render(request, template, context)


@login_required
@require_GET
def build_dropped(request: HttpRequest, project: str, number: int, step: str) -> HttpResponse:
    found = get_project(request, project)
    one = find_build(found, number)
    told = find_step(one, step)
    wanted = request.GET.get("page", "1")
    page_number = int(wanted) if wanted.isascii() and wanted.isdigit() and 1 <= len(wanted) <= 6 else 1
    reason = request.GET.get("reason", "")
    page = read_dropped_page(one, step, reason=reason, number=max(1, page_number))
    context = {
        "project": found,
        "build": one,
        "step": told,
        "reason": reason,
        "page": page,
        "previous": page.number - 1,
        "next": page.number + 1,
        "items": [{**item, "fields": _word_item(item["item"])} for item in page.items],
    }
    return render(request, "building/dropped.html", context)


@login_required
@require_GET
def build_dropped_file(request: HttpRequest, project: str, number: int, step: str) -> StreamingHttpResponse:
    """Everything that a step dropped, as JSON lines."""
    one = find_build(get_project(request, project), number)
    find_step(one, step)
    lines = (write_line(item).encode() for item in read_dropped(one.directory, step))
    answer = StreamingHttpResponse(lines, content_type="application/jsonl")
    answer["Content-Disposition"] = f'attachment; filename="build-{one.pk}-{step}-dropped.jsonl"'
    return answer


@login_required
@require_GET
def endpoints(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    rows = TeacherEndpoint.objects.filter(project=found)
    may_change = may(request.user, "endpoints.change", found)
    return render(request, "building/endpoints.html", {"project": found, "rows": rows, "may_change": may_change})


@login_required
@require_http_methods(["GET", "POST"])
def endpoint_edit(request: HttpRequest, project: str, slug: str = "") -> HttpResponse:
    """A new endpoint, or the one of this name."""
    found = get_project(request, project)
    require(request.user, "endpoints.change", found)
    row = get_object_or_404(TeacherEndpoint, project=found, slug=slug) if slug else None
    if row is not None and request.method == "POST" and request.POST.get("do") == "remove":
        remove_endpoint(row, actor=request.user)
        messages.success(request, f"Removed the endpoint {slug}.")
        return redirect("endpoints", found.slug)
    initial = {name: getattr(row, name) for name in ("slug", *SETTINGS)} if row else {"uses": ["train", "distil"]}
    form = EndpointForm(request.POST or None, initial=initial)
    if row is not None:
        form.fields["slug"].disabled = True
    if request.method == "POST" and form.is_valid():
        taken = row is None and TeacherEndpoint.objects.filter(project=found, slug=form.cleaned_data["slug"]).exists()
        if taken:
            form.add_error("slug", "The project has an endpoint of this name; choose another, or change that one.")
        else:
            try:
                saved = save_endpoint(
                    project=found, slug=form.cleaned_data["slug"], actor=request.user, **form.settings()
                )
            except BuildRefused as refused:
                show_problems(form, refused)
            else:
                messages.success(request, f"Saved the endpoint {saved.slug}.")
                return redirect("endpoints", found.slug)
    return render(request, "building/endpoint.html", {"project": found, "row": row, "form": form}, status=_status(form))


def show_problems(form: forms.Form, refused: BuildRefused) -> None:
    """Put each problem to its field, and to the form what is of none."""
    for problem in refused.problems:
        field = problem.field.partition(".")[0].partition("[")[0]
        own = field in form.fields
        form.add_error(field if own else None, problem.message if problem.field in ("", field) else str(problem))


def _status(form: forms.Form) -> int:
    return 422 if form.errors else 200


def _fields(kind: Any) -> list[Any]:
    return list(kind.config_class.model_fields.values())


def _word_config(kind: str, config: dict[str, Any]) -> list[tuple[str, str]]:
    """What was asked for, under the labels of the form."""
    known = find_kinds().get(kind)
    fields = known.config_class.model_fields if known else {}
    return [
        ((fields[name].title if name in fields else "") or name, value if isinstance(value, str) else json.dumps(value))
        for name, value in config.items()
        if value not in ("", None)
    ]


def _word_item(item: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in item.items()
    ]
