"""The queue of rows: one at a time, by keys, with what is known and decided about each."""

from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from chanote.accounts.roles import may
from chanote.checks.masking import Mask, UnmaskRefused, find_mask, unmask_row
from chanote.checks.selectors import RowFinding, findings_of_rows, newest_results
from chanote.curation.changes import find_change_set, operations_of, read_row, record_change, undo_change
from chanote.curation.editing import (
    list_fields,
    list_sent,
    propose_merge,
    propose_split,
    read_fields,
    read_json_rows,
    spell_json,
)
from chanote.curation.errands import INDEX
from chanote.curation.masks import covers
from chanote.curation.models import Comment
from chanote.curation.operations import Content, describe, read_marks
from chanote.curation.queue import (
    Decisions,
    Place,
    QueueWish,
    accept_row,
    ensure_features,
    find_place,
    forget_glance,
    read_decisions,
    read_row_wish,
    spell_row_wish,
)
from chanote.curation.services import CHANGE, CurationRefused, add_comment, refuse
from chanote.curation.views import find_version, tell_missing_rows
from chanote.datasets.features import RowWish, count_languages, list_marks
from chanote.datasets.models import DatasetVersion
from chanote.datasets.row_views import view_row
from chanote.errands.models import Errand
from chanote.errands.services import start_errand
from chanote.web.numbers import read_number

MOST_MERGED = 20
MODES = ("edit", "json", "split", "merge")


@login_required
@require_http_methods(["GET", "POST"])
@tell_missing_rows
def queue(request: HttpRequest, project: str, slug: str, number: int) -> HttpResponse:
    version = find_version(request, project, slug, number)
    # A form sends its filter in one field, since it has fields called flag and label of its own.
    query = QueryDict(request.POST.get("asked", "")[:2000]) if request.method == "POST" else request.GET
    sent = request.POST if request.method == "POST" else request.GET
    wish = QueueWish(read_row_wish(query), query.get("only") == "undecided", query.get("check", "")[:40])
    context: dict[str, Any] = {
        "project": version.project,
        "dataset": version.dataset,
        "version": version,
        "wish": wish,
        "may_change": may(request.user, CHANGE, version.project),
        "here": reverse("row_queue", args=[project, slug, number]),
    }
    context["checks"] = list(newest_results(version))
    if not ensure_features(version):
        context["errand"] = find_index_errand(version, request.user)
        if wish.rows:
            context["waiting"] = True
            wish = QueueWish(RowWish(), wish.undecided, wish.check)
    else:
        context |= {"languages": count_languages(version), "marks": list_marks(version)}
    decisions = read_decisions(version, request.user)
    place = find_place(version, wish, decisions, read_number(sent.get("row", "")))
    context |= {"decided": decisions.touched, "asked": _spell_wish(wish)}
    if place is None:
        return render(request, "curation/queue.html", context)
    if request.method == "POST":
        return _act(request, version, place, wish, decisions, context)
    mode = request.GET.get("mode", "")
    context |= _show(version, place, decisions, mode=mode if mode in MODES else "", merged=request.GET.get("with", ""))
    return render(request, "curation/queue.html", context)


def find_index_errand(version: DatasetVersion, user: Any) -> Errand:
    """The errand that makes the table of a large version; started when nobody has."""
    found = (
        Errand.objects.filter(project=version.project, kind=INDEX, config__version=version.pk).order_by("-pk").first()
    )
    return found or start_errand(
        INDEX,
        project=version.project,
        actor=user,
        config={"version": version.pk},
        title=f"Table of the rows of {version.reference}",
        subject=version.dataset,
    )


def _spell_wish(wish: QueueWish) -> str:
    """The filter as part of an address."""
    more = {"only": "undecided"} if wish.undecided else {}
    more |= {"check": wish.check} if wish.check else {}
    return "&".join(filter(None, (spell_row_wish(wish.rows), urlencode(more))))


def _show(
    version: DatasetVersion,
    place: Place,
    decisions: Decisions,
    *,
    mode: str = "",
    merged: str = "",
    unmasked: bool = False,
    typed: Any = None,
) -> dict[str, Any]:
    """What the page shows of one row, masked unless it was just opened for a reason."""
    changed = decisions.changes_of(place.row)
    before, parts = read_row(version, place.row, [one.operation for one in changed])
    mask = find_mask(version)
    covered = not unmasked and any(covers(mask, one) for one in (before, *parts))

    def cover(content: Content) -> Content:
        return content if unmasked else mask.apply(content)

    kind = version.dataset.kind
    marks = read_marks(parts[0] if parts else before) or {"flags": [], "labels": {}}
    context: dict[str, Any] = {
        "place": place,
        "views": [view_row(kind, place.row, cover(one)) for one in parts or [before]],
        "gone": not parts,
        "accepted": place.row in decisions.accepted,
        "changed": [(one, describe(one.operation)) for one in changed],
        "row_marks": marks,
        "covered": covered,
        "unmasked": unmasked,
        "comments": Comment.objects.filter(version=version, row=place.row),
        "findings": list_findings(version, place.row),
    }
    # A merge asks by itself which of its rows are covered.
    if mode and (typed or (parts and (mode == "merge" or not covered))):
        context["mode"] = mode
        match mode:
            case "edit":
                context["fields"] = typed or list_fields(parts[0])
            case "json":
                context["json"] = typed or spell_json(parts[:1])
            case "split":
                context["json"] = typed or spell_json(propose_split(parts[0]))
            case "merge":
                context |= _show_merge(version, place, merged, Mask() if unmasked else mask, typed)
    return context


def _show_merge(version: DatasetVersion, place: Place, merged: str, mask: Any, typed: Any) -> dict[str, Any]:
    rows = _read_merged(version, place.row, merged)
    if len(rows) < 2:
        return {"with": merged, "json": typed or ""}
    hidden = _find_covered(version, rows, mask)
    context = {"with": " ".join(map(str, rows)), "json": typed or "", "merge_covered": hidden}
    if not hidden and not typed:
        context["json"] = spell_json([propose_merge([read_row(version, row, [])[0] for row in rows])])
    return context


def _read_merged(version: DatasetVersion, row: int, merged: str) -> list[int]:
    """The rows that a form names beside the row that is shown: as many as are put together for a person to read."""
    others = [one for one in map(read_number, merged.replace(",", " ").split()) if one and one <= version.rows]
    return sorted({row, *others[: MOST_MERGED - 1]})


def _find_covered(version: DatasetVersion, rows: list[int], mask: Mask) -> list[int]:
    return [row for row in rows if covers(mask, read_row(version, row, [])[0])]


def list_findings(version: DatasetVersion, row: int) -> list[RowFinding]:
    """What the checks found in one row."""
    return findings_of_rows(version, row, row).get(row, [])


def _act(
    request: HttpRequest,
    version: DatasetVersion,
    place: Place,
    wish: QueueWish,
    decisions: Decisions,
    context: dict[str, Any],
) -> HttpResponse:
    act = request.POST.get("act", "")
    try:
        stays = _do(request, version, place, act, decisions)
    except (CurationRefused, UnmaskRefused) as refused:
        mode = request.POST.get("mode", "")
        # Only what was sent comes back: a form that is refused opens no masked row.
        typed: Any = list_sent(request.POST.dict()) if mode == "edit" else request.POST.get("json", "")
        context |= _show(version, place, decisions, mode=mode, merged=request.POST.get("with", ""), typed=typed or None)
        context |= {"problem": str(refused), "typed_comment": request.POST.get("text", ""), "typed": request.POST}
        return render(request, "curation/queue.html", context, status=422)
    if act == "unmask":
        sent = request.POST
        context |= _show(
            version, place, decisions, mode=sent.get("mode", ""), merged=sent.get("with", ""), unmasked=True
        )
        return render(request, "curation/queue.html", context)
    row = place.row if stays else place.after or place.row
    asked = context["asked"]
    return redirect(f"{context['here']}?row={row}{'&' if asked else ''}{asked}")


def _do(request: HttpRequest, version: DatasetVersion, place: Place, act: str, decisions: Decisions) -> bool:
    """Do what was asked; whether the page stays on this row."""
    sent, actor, row = request.POST, request.user, place.row
    ranges = [[row, row]]
    match act:
        case "accept":
            accept_row(version, row, actor=actor)
            return False
        case "reject":
            record_change(version, {"op": "reject", "rows": ranges, "why": sent.get("why", "")}, actor=actor)
            return False
        case "undo":
            for change in decisions.changes_of(row):
                if str(change.number) == sent.get("number"):
                    undo_change(change, actor=actor)
        case "forget":
            forget_glance(version, row, actor=actor)
        case "flag" | "unflag":
            record_change(version, {"op": act, "rows": ranges, "flag": sent.get("flag", "").strip()}, actor=actor)
        case "label":
            name, _, value = sent.get("label", "").partition("=")
            label = {"op": "label", "rows": ranges, "name": name.strip(), "value": value.strip() or None}
            record_change(version, label, actor=actor)
        case "comment":
            add_comment(version, text=sent.get("text", ""), row=row, actor=actor)
        case "unmask":
            opened = [row]
            if sent.get("mode") == "merge":
                opened = _find_covered(version, _read_merged(version, row, sent.get("with", "")), find_mask(version))
            for one in opened:
                unmask_row(version, one, reason=sent.get("reason", ""), actor=actor)
        case "save":
            _save(request, version, row)
    return True


def _save(request: HttpRequest, version: DatasetVersion, row: int) -> None:
    """An edit, a split or a merge, as the form of that name sends it."""
    sent, actor = request.POST, request.user
    match sent.get("mode"):
        case "edit":
            _, parts = read_row(version, row, operations_of(find_change_set(version, actor)))
            if len(parts) != 1:
                raise refuse(
                    "", f"Row {row:,} is {'gone' if not parts else 'split'} by a change of yours; undo it first."
                )
            content = read_fields(parts[0], sent.dict())
            if content == parts[0]:
                raise refuse("", "Nothing in the row is changed.")
            record_change(version, {"op": "edit", "row": row, "content": content}, actor=actor)
        case "json":
            rows = read_json_rows(sent.get("json", ""))
            if len(rows) > 1:
                raise refuse("content", f"{len(rows)} rows are written; to make several of one, split it.")
            record_change(version, {"op": "edit", "row": row, "content": rows[0]}, actor=actor)
        case "split":
            rows = read_json_rows(sent.get("json", ""))
            record_change(version, {"op": "split", "row": row, "contents": rows}, actor=actor)
        case "merge":
            numbers = [read_number(word) or 0 for word in sent.get("with", "").replace(",", " ").split()]
            rows = read_json_rows(sent.get("json", ""))
            if len(rows) != 1:
                raise refuse("content", "A merge leaves one row; write one.")
            operation = {"op": "merge", "merged": sorted({row, *numbers}), "content": rows[0]}
            record_change(version, operation, actor=actor)
