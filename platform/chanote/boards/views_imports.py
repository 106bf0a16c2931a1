"""Pages of imported results: the form, and what came of a file."""

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from chanote.accounts.roles import may, require
from chanote.boards.forms import ImportForm
from chanote.boards.importing import FORMATS
from chanote.boards.imports import file_path, import_upload, list_imported
from chanote.boards.models import Evaluation, ImportedFile
from chanote.boards.services import BoardError
from chanote.web.projects import get_project

FILES_PER_PAGE = 50


@login_required
@require_http_methods(["GET", "POST"])
def import_new(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    require(request.user, "boards.change", found)
    form = ImportForm(request.POST or None, request.FILES or None, project=found, initial=request.GET.dict())
    if request.method == "POST" and form.is_valid():
        try:
            made = import_upload(actor=request.user, **form.cleaned_data)
            return redirect("boards:imported", found.slug, made.pk)
        except BoardError as error:
            form.add_error("file", str(error))
    context = {"project": found, "form": form, "formats": [words for words, _ in FORMATS.values()]}
    return render(request, "boards/import.html", context, status=422 if form.is_bound else 200)


@login_required
@require_GET
def imported_list(request: HttpRequest, project: str) -> HttpResponse:
    """Every file that was imported, with what it is known by."""
    found = get_project(request, project)
    files = list_imported(found)
    page = Paginator(files, FILES_PER_PAGE).get_page(request.GET.get("page"))
    rows = [(one, FORMATS[one.format][0]) for one in page.object_list]
    context = {
        "project": found,
        "page": page,
        "asked": "",
        "rows": rows,
        "may_change": may(request.user, "boards.change", found),
    }
    return render(request, "boards/imported_list.html", context)


@login_required
@require_GET
def imported(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """What was taken from a file, what was skipped, and whether its own figures come out again."""
    file = _find_file(request, project, number)
    evaluations = Evaluation.objects.filter(imported_from=file).select_related("task", "model").defer("scores")
    rows = [(one, one.boards.first()) for one in evaluations.prefetch_related("boards")]
    context = {"project": file.project, "file": file, "rows": rows, "format": FORMATS[file.format][0]}
    return render(request, "boards/imported.html", context)


@login_required
@require_GET
def original(request: HttpRequest, project: str, number: int) -> HttpResponseBase:
    """The bytes as they came."""
    file = _find_file(request, project, number)
    path = file_path(file.sha256)
    if not path.is_file():
        raise Http404("the original is no longer kept")
    return FileResponse(
        path.open("rb"), as_attachment=True, filename=file.name, content_type="application/octet-stream"
    )


def _find_file(request: HttpRequest, project: str, number: int) -> ImportedFile:
    files = ImportedFile.objects.select_related("project", "created_by").filter(project=get_project(request, project))
    return get_object_or_404(files, pk=number)
