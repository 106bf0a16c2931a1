"""Pages of errands: the list, one errand, and its progress as a part of other pages."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from chanote.accounts.models import Project
from chanote.accounts.roles import may
from chanote.errands.kinds import find_kind
from chanote.errands.models import Errand
from chanote.errands.services import ErrandRefused, resume_errand, stop_errand
from chanote.web.projects import get_project

PER_PAGE = 50
LOG_BYTES = 20_000
HIGHEST = 2**63 - 1


@login_required
@require_GET
def errands(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    rows = Errand.objects.filter(project=found).select_related("project", "created_by")
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "errands/list.html", {"project": found, "page": page})


@login_required
@require_http_methods(["GET", "POST"])
def errand(request: HttpRequest, project: str, number: int) -> HttpResponse:
    found = get_project(request, project)
    one = find_errand(found, number)
    if request.method == "POST":
        act = {"stop": stop_errand, "resume": resume_errand}.get(request.POST.get("do", ""))
        if act is None:
            messages.error(request, "Nothing was done: the form names neither stop nor resume.")
        else:
            try:
                act(one, actor=request.user)
            except ErrandRefused as refused:
                messages.error(request, str(refused))
        return redirect(one)
    return render(
        request,
        "errands/errand.html",
        {"project": found, "errand": one, "log": read_log(one), "may_act": may_act(request, one)},
    )


@login_required
@require_GET
def progress(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """The part of a page that shows the progress; when the errand has ended, the page loads itself again."""
    one = find_errand(get_project(request, project), number)
    answer = render(request, "errands/_progress.html", {"errand": one, "may_act": may_act(request, one)})
    if not one.is_active:
        answer["HX-Refresh"] = "true"
    return answer


def may_act(request: HttpRequest, errand: Errand) -> bool:
    try:
        return may(request.user, find_kind(errand.kind).permission, errand.project)
    except KeyError:
        return False


def find_errand(project: Project, number: int) -> Errand:
    if number > HIGHEST:
        raise Http404("There is no such errand.")
    one = Errand.objects.filter(project=project, pk=number).select_related("project", "created_by").first()
    if one is None:
        raise Http404(f"Project {project.slug} has no errand {number}.")
    return one


def read_log(errand: Errand) -> str:
    """The last lines that the process wrote."""
    try:
        with (errand.directory / "errand.log").open("rb") as file:
            file.seek(max(file.seek(0, 2) - LOG_BYTES, 0))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
