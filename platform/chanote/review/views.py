"""Pages of the review: the inbox, labels and their export, one label, the same prompt elsewhere."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chanote.accounts.roles import may, require
from chanote.datasets.errors import ImportRefused
from chanote.review.exporting import export_labels
from chanote.review.forms import ExportForm
from chanote.review.models import Label, LabelExport, LabelKind, Pick, SiftedStep
from chanote.review.rules import RULES
from chanote.review.same_prompt import MOST_COLUMNS, Place, compare_prompt, read_places
from chanote.review.selectors import (
    find_labels,
    find_picked_runs,
    find_picks,
    link_rollout,
    read_inbox_wish,
    read_label_wish,
)
from chanote.review.services import LabelRefused, set_label, withdraw_label
from chanote.review.sifting import sift_project
from chanote.runs.live import find_run
from chanote.runs.models import Run
from chanote.web.numbers import read_number
from chanote.web.projects import get_project

PER_PAGE = 20
PLACES_PER_PAGE = 40


@login_required
@require_GET
def inbox(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    progress = sift_project(found)
    wish = read_inbox_wish(request.GET)
    page = Paginator(find_picks(found, wish, request.user), PER_PAGE).get_page(request.GET.get("page"))
    here = request.GET.copy()
    # Asked by the page itself, which goes on looking while somebody reads: it says when all is looked through.
    looking = bool(here.pop("looking", None))
    asked = here.copy()
    asked.pop("page", None)
    context = {
        "project": found,
        "progress": progress,
        "looking": looking,
        "here": here.urlencode(),
        "wish": wish,
        "page": page,
        "asked": asked.urlencode(),
        "runs": find_picked_runs(found),
        "rules": RULES,
        "picked": Pick.objects.filter(run__project=found, sifted__current=True).exists(),
        "faults": SiftedStep.objects.filter(run__project=found, current=True).exclude(fault="").count(),
        "may_label": may(request.user, "rollouts.label", found),
    }
    return render(request, "review/inbox.html", context)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


@login_required
@require_http_methods(["GET", "POST"])
def labels(request: HttpRequest, project: str) -> HttpResponse:
    """Every label of the project; a POST makes a dataset version of them."""
    found = get_project(request, project)
    every = Label.objects.filter(run__project=found)
    runs = list(Run.objects.filter(labels__in=every).distinct().order_by("-number").values_list("number", "name"))
    form = ExportForm(request.POST or None, runs=runs)
    if request.method == "POST":
        require(request.user, "datasets.change", found)
        if form.is_valid() and (export := _export(request, form, found)):
            return redirect(export.version.dataset.get_absolute_url())
    wish = read_label_wish(request.GET)
    page = Paginator(find_labels(found, wish), PER_PAGE).get_page(request.GET.get("page"))
    asked = request.GET.copy()
    asked.pop("page", None)
    context = {
        "project": found,
        "form": form,
        "wish": wish,
        "page": page,
        "asked": asked.urlencode(),
        "runs": runs,
        "kinds": LabelKind.choices,
        "people": sorted(set(every.order_by().values_list("author_name", flat=True))),
        "counts": dict(every.order_by().values_list("label").annotate(Count("pk"))),
        "exports": LabelExport.objects.filter(project=found).select_related("version__dataset", "created_by")[:10],
        "may_export": may(request.user, "datasets.change", found),
    }
    return render(request, "review/labels.html", context, status=422 if form.errors else 200)


def _export(request: HttpRequest, form: ExportForm, project: Any) -> LabelExport | None:
    """The export; None when the form must be shown again, with the reasons in it."""
    try:
        export = export_labels(project=project, actor=request.user, **form.cleaned_data)
    except ImportRefused as refused:
        for problem in refused.problems:
            form.add_error(problem.field if problem.field in form.fields else None, problem.message)
        return None
    version = export.version
    if version.unchanged:
        messages.info(request, f"Rows and rights are those of {version.reference}: no new version was made.")
    else:
        messages.success(
            request, f"{version.reference} holds {_count(version.rows, 'row')} of {_count(export.labels, 'label')}."
        )
    if export.left_out:
        messages.warning(request, f"Left out: {' '.join(export.left_out)}")
    return export


@dataclass(frozen=True)
class Spot:
    """A rollout as the label bar wants it."""

    step: int
    group: int
    index: int


@login_required
@require_POST
def label(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """Give, change or take back one's own label. A script gets the label bar anew, a form the rollout's page."""
    get_project(request, project)
    run = find_run(request.user, project, number)
    place = [read_number(request.POST.get(name, "")) for name in ("step", "group", "index")]
    if any(part is None for part in place):
        raise Http404("No rollout is named.")
    step, group, index = (part or 0 for part in place)
    note, said = request.POST.get("note", "").replace("\r\n", "\n"), request.POST.get("label", "")
    spot = Spot(step, group, index)
    context: dict[str, Any] = {"project": run.project, "run": run, "rollout": spot}
    try:
        if "withdraw" in request.POST:
            own = Label.objects.filter(run=run, pk=read_number(request.POST["withdraw"]) or 0)
            withdraw_label(get_object_or_404(own), actor=request.user)
        else:
            set_label(run=run, step=step, group=group, index=index, label=said, note=note, actor=request.user)
    except LabelRefused as refused:
        context |= {"label_problems": refused.problems, "typed_note": note}
    failed = "label_problems" in context
    if request.headers.get("X-Live"):
        context["label_done"] = not failed
        return render(request, "review/label_bar.html", context, status=422 if failed else 200)
    if failed:
        return render(request, "review/label.html", context, status=422)
    return redirect(link_rollout(run, step=step, group=group, index=index))


@login_required
@require_GET
def same_prompt(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    places = read_places(request.GET.getlist("at"))
    if not places:
        raise Http404("No rollout is named; open one and follow its link.")
    comparison = compare_prompt(found, places)
    page = Paginator(comparison.found, PLACES_PER_PAGE).get_page(request.GET.get("page"))
    shown = {(column.place.run, column.step, column.group): str(column.place) for column in comparison.columns}
    rows = []
    for one in page.object_list:
        key = (one.run.number, one.step, one.group)
        rows.append((one, shown.get(key, str(Place(*key))), key in shown))
    first = next(iter(shown.values()))
    listed = {at for _, at, _ in rows}
    hidden = [at for at in shown.values() if at not in listed and at != first]
    asked = request.GET.copy()
    asked.pop("page", None)
    context = {
        "project": found,
        "comparison": comparison,
        "page": page,
        "asked": asked.urlencode(),
        "rows": rows,
        "first": first,
        "dropped": max(0, len(set(request.GET.getlist("at"))) - MOST_COLUMNS),
        "hidden": hidden,
        "most": MOST_COLUMNS,
    }
    return render(request, "review/same_prompt.html", context)
