"""Pages of frozen boards."""

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from chanote.accounts.roles import may, require
from chanote.boards.cleaning import Clean
from chanote.boards.cleaning_pages import CHOICES, find_clean
from chanote.boards.models import Board, Snapshot
from chanote.boards.services import BoardError
from chanote.boards.snapshots import EXPORTS, freeze_board, word_citation, word_left_out, word_model
from chanote.web.projects import get_project


class FreezeForm(forms.Form):
    reason = forms.CharField(
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs={"class": "input"}),
        help_text="What it is frozen for, such as the name of a report.",
    )
    items = forms.ChoiceField(
        choices=[(one.value, words) for one, words in CHOICES.items()],
        required=False,
        widget=forms.Select(attrs={"class": "select"}),
        help_text="Clean: without items that are in training data of a model on the board, as far as that was checked.",
    )


@login_required
@require_http_methods(["GET", "POST"])
def snapshots(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    """Snapshots of a board, and the form that makes one."""
    board = _find_board(request, project, slug)
    form = FreezeForm(request.POST or None, initial={"items": find_clean(request)})
    if request.method == "POST":
        require(request.user, "boards.change", board.project)
        if form.is_valid():
            try:
                made = freeze_board(
                    board,
                    reason=form.cleaned_data["reason"],
                    clean=Clean(form.cleaned_data["items"]),
                    actor=request.user,
                )
                return redirect("boards:snapshot", board.project.slug, board.slug, made.number)
            except BoardError as error:
                form.add_error(None, str(error))
    context = {
        "project": board.project,
        "board": board,
        "form": form,
        "snapshots": board.snapshots.defer("packed").select_related("created_by"),
        "may_change": may(request.user, "boards.change", board.project),
    }
    return render(request, "boards/snapshots.html", context, status=422 if form.is_bound and form.errors else 200)


@login_required
@require_GET
def snapshot(request: HttpRequest, project: str, slug: str, number: int) -> HttpResponse:
    """The frozen board, fit to be printed."""
    found = _find_snapshot(request, project, slug, number)
    tables = []
    for table in found.content["tables"]:
        scale = 100.0 if table["higher_is_better"] else 1.0
        rows = [(model, *word_model(model, scale)) for model in table["models"]]
        tables.append((table, rows, "%" if table["higher_is_better"] else "bits per byte", word_left_out(table)))
    context = {
        "project": found.board.project,
        "board": found.board,
        "snapshot": found,
        "tables": tables,
        "citation": word_citation(found),
        "kinds": list(EXPORTS),
    }
    return render(request, "boards/snapshot.html", context)


@login_required
@require_GET
def export(request: HttpRequest, project: str, slug: str, number: int, kind: str) -> HttpResponse:
    """CSV, JSON (the very bytes of the hash) or LaTeX."""
    found = _find_snapshot(request, project, slug, number)
    if kind not in EXPORTS:
        raise Http404(f"a snapshot is not exported as {kind}")
    content_type, write = EXPORTS[kind]
    response = HttpResponse(write(found), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{found.board.slug}-{found.number}.{kind}"'
    return response


def _find_board(request: HttpRequest, project: str, slug: str) -> Board:
    boards = Board.objects.select_related("project", "baseline").filter(project=get_project(request, project))
    return get_object_or_404(boards, slug=slug)


def _find_snapshot(request: HttpRequest, project: str, slug: str, number: int) -> Snapshot:
    board = _find_board(request, project, slug)
    return get_object_or_404(
        Snapshot.objects.select_related("board__project", "created_by"), board=board, number=number
    )
