"""Pages of the sources: the list, one source, what used it, its withdrawal; and of single rows."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, F, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chanote.accounts.models import Project
from chanote.accounts.roles import may, require
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import StoreError
from chanote.recipes.models import Recipe
from chanote.rights.exceptions import RightsRefused
from chanote.rights.forms import ChangeSourceForm, NewSourceForm, ReasonForm
from chanote.rights.impact import Impact, find_impact_of_row, find_impact_of_source
from chanote.rights.models import ExceptionRequest, Source, State, WithdrawnRow
from chanote.rights.provenance import list_use_chips
from chanote.rights.retraining import find_recipes_using, start_retraining
from chanote.rights.rows import mark_row
from chanote.rights.rules import is_commercial
from chanote.rights.sources import FACTS, change_source, create_source, set_purpose
from chanote.rights.withdrawal import withdraw_row, withdraw_source
from chanote.web.projects import get_project

PER_PAGE = 50


@login_required
@require_GET
def source_list(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    sources = Source.objects.filter(project=found).annotate(
        versions_count=Count("spans__version", distinct=True), rows_count=Sum(F("spans__stop") - F("spans__start"))
    )
    page = Paginator(sources.order_by("slug"), PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "project": found,
        "page": page,
        "rows": [(source, list_use_chips(source.uses)) for source in page.object_list],
        "withdrawn_rows": WithdrawnRow.objects.filter(project=found).select_related("version__dataset", "withdrawn_by"),
        "waiting": ExceptionRequest.objects.filter(project=found, state=State.WAITING).count(),
        "commercial": is_commercial(found),
        "may_change": may(request.user, "datasets.change", found),
        "may_administer": may(request.user, "projects.administer", found),
    }
    return render(request, "rights/sources.html", context)


@login_required
@require_POST
def purpose(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    set_purpose(found, commercial=request.POST.get("commercial") == "yes", actor=request.user)
    return redirect("sources", found.slug)


@login_required
@require_http_methods(["GET", "POST"])
def source_new(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    require(request.user, "datasets.change", found)
    form = NewSourceForm(request.POST or None, initial={"uses": ["train", "distil", "evaluate"]})
    if request.method == "POST" and form.is_valid():
        try:
            source = create_source(project=found, actor=request.user, **form.cleaned_data)
        except RightsRefused as refused:
            tell(form, refused)
        else:
            return redirect(source.get_absolute_url())
    return render(request, "rights/source_edit.html", {"project": found, "form": form}, status=status_of(form))


@login_required
@require_GET
def source_detail(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    source = _find_source(request, project, slug)
    impact = find_impact_of_source(source)
    context = {
        "project": source.project,
        "source": source,
        "uses": list_use_chips(source.uses),
        "impact": impact,
        "recipes": _list_recipes(source.project, impact),
        "form": ReasonForm(),
        "may_change": may(request.user, "datasets.change", source.project),
        "may_withdraw": may(request.user, "rights.withdraw", source.project),
        "may_retrain": may(request.user, "recipes.change", source.project),
    }
    return render(request, "rights/source.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def source_edit(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    source = _find_source(request, project, slug)
    require(request.user, "datasets.change", source.project)
    initial: dict[str, Any] = {name: getattr(source, name) for name in FACTS}
    initial["languages"] = ", ".join(source.languages)
    form = ChangeSourceForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            change_source(source, actor=request.user, **form.cleaned_data)
        except RightsRefused as refused:
            tell(form, refused)
        except PermissionDenied as error:
            form.add_error(None, str(error))
        else:
            return redirect(source.get_absolute_url())
    context = {"project": source.project, "source": source, "form": form}
    return render(request, "rights/source_edit.html", context, status=status_of(form))


@login_required
@require_POST
def source_withdraw(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    source = _find_source(request, project, slug)
    try:
        withdraw_source(source, reason=request.POST.get("reason", ""), actor=request.user)
    except RightsRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, f"{source.slug} is withdrawn: no launch, evaluation or export uses its rows now.")
    return redirect(source.get_absolute_url())


@login_required
@require_POST
def source_retrain(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    source = _find_source(request, project, slug)
    return _retrain(request, source.project, [source], source.get_absolute_url())


@login_required
@require_http_methods(["GET", "POST"])
def row_impact(request: HttpRequest, project: str, dataset: str, number: int, row: int) -> HttpResponse:
    """What used one row, and its withdrawal."""
    found = get_project(request, project)
    version = get_object_or_404(
        DatasetVersion.objects.select_related("dataset__project"), dataset__project=found, dataset__slug=dataset,
        number=number,
    )  # fmt: skip
    try:
        mark = mark_row(version, row) if 0 < row <= version.rows else None
    except StoreError as error:
        raise Http404(str(error)) from error
    if mark is None:
        raise Http404(f"{version} has no row {row}.")
    here = request.path
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and "recipe" in request.POST:
        return _retrain(request, found, [], here)
    if request.method == "POST" and form.is_valid():
        try:
            withdraw_row(version, row, actor=request.user, reason=form.cleaned_data["reason"])
        except RightsRefused as refused:
            tell(form, refused)
        else:
            messages.success(request, f"Row {row:,} of {version.reference} is withdrawn wherever it stands.")
            return redirect(here)
    impact = find_impact_of_row(found, mark)
    context = {
        "project": found,
        "version": version,
        "row": row,
        "withdrawn": WithdrawnRow.objects.filter(project=found, sha256=mark[1]).select_related("withdrawn_by").first(),
        "impact": impact,
        "recipes": _list_recipes(found, impact),
        "form": form,
        "may_withdraw": may(request.user, "rights.withdraw", found),
        "may_retrain": may(request.user, "recipes.change", found),
    }
    return render(request, "rights/row.html", context, status=status_of(form))


def _retrain(request: HttpRequest, project: Project, sources: list[Source], back: str) -> HttpResponse:
    recipe = get_object_or_404(Recipe, project=project, slug=request.POST.get("recipe", ""))
    try:
        return redirect(start_retraining(recipe, sources=sources, actor=request.user))
    except RightsRefused as refused:
        messages.error(request, str(refused))
        return redirect(back)


def _list_recipes(project: Project, impact: Impact) -> list[Recipe]:
    return find_recipes_using(project, [hit.version for hit in impact.versions])


def _find_source(request: HttpRequest, project: str, slug: str) -> Source:
    found = get_project(request, project)
    source = get_object_or_404(Source.objects.select_related("withdrawn_by", "created_by"), project=found, slug=slug)
    source.project = found
    return source


def tell(form: Any, refused: RightsRefused) -> None:
    for problem in refused.problems:
        form.add_error(problem.field if problem.field in form.fields else None, problem.message)


def status_of(form: Any) -> int:
    return 422 if form.is_bound else 200
