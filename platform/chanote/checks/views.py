"""Pages of checks: what one result found, the settings of a check, and a row with its mask taken off."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chanote.accounts.roles import may, require
from chanote.checks.checkers import CHECKS
from chanote.checks.findings import open_detail
from chanote.checks.forms import ReasonForm, make_form
from chanote.checks.masking import UnmaskRefused, find_mask, unmask_row
from chanote.checks.models import CheckResult, CheckSettings
from chanote.checks.pages import describe_check, describe_codes
from chanote.checks.selectors import findings_of_rows, rows_found
from chanote.checks.services import ChecksRefused, set_check, start_checks
from chanote.datasets.models import DatasetVersion
from chanote.datasets.row_views import view_row
from chanote.datasets.storage import StoreError, open_rows
from chanote.web.numbers import read_number
from chanote.web.projects import get_project

ROWS = 20


@login_required
@require_POST
def start(request: HttpRequest, project: str, slug: str, number: int) -> HttpResponse:
    version = _find_version(request, project, slug, number)
    try:
        start_checks(version, request.POST.getlist("check"), actor=request.user)
    except ChecksRefused as refused:
        messages.error(request, str(refused))
    return redirect(f"{version.dataset.get_absolute_url()}?tab=checks&version={version.number}")


@login_required
@require_GET
def result(request: HttpRequest, project: str, slug: str, number: int, name: str) -> HttpResponse:
    """The newest result of one check of one version, with the rows that it found."""
    version = _find_version(request, project, slug, number)
    results = CheckResult.objects.filter(version=version, check_name=name).order_by("-created", "-id")
    found = results.first()
    if found is None or name not in CHECKS:
        raise Http404("This check has not been run on the version.")
    code = request.GET.get("code", "")
    begin = request.GET.get("start", "")
    context: dict[str, Any] = {
        "project": version.project,
        "dataset": version.dataset,
        "version": version,
        "result": found,
        "line": describe_check(CHECKS[name], found),
        "codes": describe_codes(found),
        "code": code if code in CHECKS[name].finds else "",
        "earlier": results[1:11],
        "empty_list": [],
        "may_run": may(request.user, "datasets.change", version.project),
    }
    try:
        context["detail"] = open_detail(found.detail_sha256)
        context |= _list_rows(version, found, context["code"], read_number(begin) or 0)
    except StoreError as error:
        context["broken"] = str(error)
    return render(request, "checks/result.html", context)


def _list_rows(version: DatasetVersion, result: CheckResult, code: str, begin: int) -> dict[str, Any]:
    numbers, after = rows_found(result, (code,) if code else (), start=begin, limit=ROWS)
    mask = find_mask(version)
    rows = []
    for number in numbers:
        content = mask.apply(next(open_rows(version, number - 1, number)))
        told = findings_of_rows(version, number, number, facts=bool(code)).get(number, [])
        rows.append(
            (view_row(version.dataset.kind, number, content), [one for one in told if one.check == result.check_name])
        )
    return {"rows": rows, "after": after, "masked": bool(mask)}


@login_required
@require_http_methods(["GET", "POST"])
def unmask(request: HttpRequest, project: str, slug: str, number: int, row: int) -> HttpResponse:
    """One row, masked; and with a reason, as it is stored."""
    version = _find_version(request, project, slug, number)
    if not 1 <= row <= version.rows:
        raise Http404(f"{version} has no row {row}.")
    form = ReasonForm(request.POST or None)
    content: dict[str, Any] | None = None
    if request.method == "POST" and form.is_valid():
        try:
            content = unmask_row(version, row, reason=form.cleaned_data["reason"], actor=request.user)
        except UnmaskRefused as refused:
            for problem in refused.problems:
                form.add_error(problem.field if problem.field in form.fields else None, problem.message)
    shown = content if content is not None else find_mask(version).apply(next(open_rows(version, row - 1, row)))
    context = {
        "project": version.project,
        "dataset": version.dataset,
        "version": version,
        "form": form,
        "view": view_row(version.dataset.kind, row, shown),
        "next_row": row + 1,
        "unmasked": content is not None,
        "may_unmask": may(request.user, "datasets.change", version.project),
    }
    answer = render(request, "checks/unmask.html", context, status=422 if form.errors else 200)
    answer["Cache-Control"] = "no-store"
    return answer


@login_required
@require_http_methods(["GET", "POST"])
def settings(request: HttpRequest, project: str, name: str) -> HttpResponse:
    found = get_project(request, project)
    if name not in CHECKS:
        raise Http404(f"There is no check {name}.")
    check = CHECKS[name]
    kept = CheckSettings.objects.filter(project=found, check_name=name).first()
    initial = check.settings_class.model_validate(kept.configuration if kept else {}).model_dump()
    form_class = make_form(check)
    form = (
        form_class(request.POST or None, initial=initial) if request.method == "POST" else form_class(initial=initial)
    )
    if request.method == "POST":
        require(request.user, "datasets.change", found)
        if form.is_valid():
            values = {key: value for key, value in form.cleaned_data.items() if value is not None}
            try:
                set_check(found, name, values, actor=request.user)
            except ChecksRefused as refused:
                for problem in refused.problems:
                    field = problem.field.partition("[")[0]
                    form.add_error(field if field in form.fields else None, f"{problem.message}.")
            else:
                messages.success(request, f"The next run of “{check.title}” takes these settings.")
                return redirect("check_settings", found.slug, name)
    context = {
        "project": found,
        "check": check,
        "form": form,
        "kept": kept,
        "others": CHECKS.values(),
        "may_change": may(request.user, "datasets.change", found),
    }
    return render(request, "checks/settings.html", context, status=422 if form.errors else 200)


def _find_version(request: HttpRequest, project: str, slug: str, number: int) -> DatasetVersion:
    found = get_project(request, project)
    versions = DatasetVersion.objects.visible_to(request.user).select_related("dataset__project")
    return get_object_or_404(versions, dataset__project=found, dataset__slug=slug, number=number)
