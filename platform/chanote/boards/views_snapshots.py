"""Pages of frozen boards."""

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chanote.accounts.roles import may, require
from chanote.boards.cleaning import Clean
from chanote.boards.cleaning_pages import CHOICES, find_clean
from chanote.boards.models import Board, SharedLink, Snapshot
from chanote.boards.services import BoardError
from chanote.boards.sharing import grant_link, revoke_link
from chanote.boards.snapshots import EXPORTS, freeze_board, lay_out_tables, word_citation
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


class ShareForm(forms.Form):
    expires = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput(attrs={"class": "input", "type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="UTC. Empty: until it is revoked.",
    )
    with_items = forms.BooleanField(
        label="Questions and answers too",
        required=False,
        help_text="Only where data and models may be published; personal data is masked.",
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
    return _show(request, _find_snapshot(request, project, slug, number), ShareForm())


@login_required
@require_POST
def share(request: HttpRequest, project: str, slug: str, number: int) -> HttpResponse:
    """Grant a public link. Its address stands in this answer only."""
    found = _find_snapshot(request, project, slug, number)
    require(request.user, "boards.publish", found.project)
    form = ShareForm(request.POST)
    if form.is_valid():
        try:
            _, token = grant_link(found, actor=request.user, **form.cleaned_data)
        except BoardError as error:
            form.add_error(error.problems[0].field if error.problems else None, f"{error}.")
        else:
            address = request.build_absolute_uri(reverse("shared_boards:board", args=[token]))
            answer = _show(request, found, ShareForm(), granted=address)
            answer["Cache-Control"] = "no-store"
            return answer
    return _show(request, found, form)


@login_required
@require_POST
def unshare(request: HttpRequest, project: str, slug: str, number: int, link: int) -> HttpResponse:
    """Revoke a public link."""
    found = _find_snapshot(request, project, slug, number)
    require(request.user, "boards.publish", found.project)
    revoke_link(get_object_or_404(SharedLink, snapshot=found, pk=link), actor=request.user)
    return redirect("boards:snapshot", found.project.slug, found.board.slug, found.number)


def _show(request: HttpRequest, found: Snapshot, form: ShareForm, *, granted: str = "") -> HttpResponse:
    context = {
        "project": found.board.project,
        "board": found.board,
        "snapshot": found,
        "tables": lay_out_tables(found),
        "citation": word_citation(found),
        "kinds": list(EXPORTS),
        "links": found.links.select_related("created_by", "revoked_by", "snapshot__board"),
        "may_publish": may(request.user, "boards.publish", found.board.project),
        "form": form,
        "granted": granted,
    }
    return render(request, "boards/snapshot.html", context, status=422 if form.is_bound and form.errors else 200)


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
