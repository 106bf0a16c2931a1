"""Changes to many rows: which ones, what they become, and only then doing it."""

from typing import Any

import numpy
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from chanote.accounts.roles import require
from chanote.checks.masking import find_mask
from chanote.checks.selectors import newest_results
from chanote.curation.changes import (
    BulkPreview,
    find_change_set,
    find_exact_copies,
    operations_of,
    preview_bulk,
    record_change,
)
from chanote.curation.operations import Operation, Ranges, describe, to_ranges
from chanote.curation.queue import ensure_features, find_flagged, find_visible, read_row_wish
from chanote.curation.queue_views import find_index_errand
from chanote.curation.services import CHANGE, CurationRefused, refuse
from chanote.curation.views import find_version, tell_missing_rows
from chanote.datasets.features import RowWish, count_languages, list_marks
from chanote.datasets.models import DatasetVersion
from chanote.datasets.row_diff import list_texts, pair_texts
from chanote.review.texts import compare_words
from chanote.web.numbers import read_number

ACTS = {
    "reject": "Reject them",
    "flag": "Flag them",
    "unflag": "Take a flag off them",
    "label": "Label them",
    "copies": "Remove exact copies, keep the first",
    "near": "Remove near copies, keep the first",
}


@login_required
@require_http_methods(["GET", "POST"])
@tell_missing_rows
def bulk(request: HttpRequest, project: str, slug: str, number: int) -> HttpResponse:
    version = find_version(request, project, slug, number)
    require(request.user, CHANGE, version.project)
    query = request.POST if request.method == "POST" else request.GET
    context: dict[str, Any] = {
        "project": version.project,
        "dataset": version.dataset,
        "version": version,
        "acts": ACTS,
        "sent": query,
        "wish": read_row_wish(query),
        "act": query.get("act", "reject"),
        "checks": list(newest_results(version)),
    }
    if not ensure_features(version):
        context["errand"] = find_index_errand(version, request.user)
        return render(request, "curation/bulk.html", context)
    context |= {"languages": count_languages(version), "marks": list_marks(version)}
    if not query.get("act"):
        return render(request, "curation/bulk.html", context)
    try:
        operation = read_operation(version, query, request.user)
        if request.method == "POST" and query.get("do") == "yes":
            change = record_change(version, operation, actor=request.user)
            messages.success(request, f"{describe(change.operation)}: noted. No version is made before you say so.")
            return redirect(reverse("row_changes", args=[project, slug, number]))
        preview = preview_bulk(version, operation, actor=request.user)
    except CurationRefused as refused:
        context["problem"] = str(refused)
        return render(request, "curation/bulk.html", context, status=422)
    context |= {"preview": preview, "words": describe(preview.operation), "samples": list_samples(version, preview)}
    return render(request, "curation/bulk.html", context)


def read_operation(version: DatasetVersion, sent: Any, actor: Any) -> Operation:
    """The operation that a form asks for. Raises CurationRefused."""
    act = sent.get("act", "")
    if act not in ACTS:
        raise refuse("act", f"Choose what to do: {', '.join(ACTS)}.")
    if act == "copies":
        found = find_exact_copies(version, operations_of(find_change_set(version, actor)))
        if found is None:
            raise refuse("act", "No row is an exact copy of another.")
        return found
    if act == "near":
        return find_near_copies(version)
    ranges = read_rows(version, sent)
    match act:
        case "reject":
            return {"op": "reject", "rows": ranges, "why": sent.get("why", "")}
        case "label":
            name, _, value = sent.get("mark", "").partition("=")
            return {"op": "label", "rows": ranges, "name": name.strip(), "value": value.strip() or None}
        case _:
            return {"op": act, "rows": ranges, "flag": sent.get("mark", "").strip()}


def find_near_copies(version: DatasetVersion) -> Operation:
    """All but the first row of every cluster that the check for duplicates has found. Raises CurationRefused."""
    result = newest_results(version).get("duplicates")
    if result is None:
        raise refuse("act", "The check for duplicates has not looked at this version yet; run it on the tab Checks.")
    rows = find_flagged(version, "duplicates", ("near",)).tolist()
    if not rows:
        raise refuse("act", "The check has found no near copy.")
    return {"op": "deduplicate", "rows": to_ranges(rows), "how": "near", "clusters": result.counts.get("clusters", 0)}


def read_rows(version: DatasetVersion, sent: Any) -> Ranges:
    """Rows by the filter, within the numbers that are named. Raises CurationRefused."""
    wish: RowWish = read_row_wish(sent)
    named, check = read_ranges(sent.get("rows", "")), sent.get("check", "")
    if not wish and not named and not check:
        raise refuse("rows", "Say which rows: by numbers such as 1-20, 35, or by a filter.")
    if not wish and not check:
        return named
    found = find_visible(version, wish, find_mask(version)).numbers
    if check:
        found = found[numpy.isin(found, find_flagged(version, check))]
    if named:
        inside = numpy.zeros(len(found), dtype=bool)
        for first, last in named:
            inside |= (found >= first) & (found <= last)
        found = found[inside]
    if not len(found):
        raise refuse("rows", "No row answers this filter.")
    return to_ranges(found.tolist())


def read_ranges(text: str) -> Ranges:
    """`1-20, 35` as ranges. Raises CurationRefused."""
    ranges = []
    for word in text.replace(",", " ").replace("–", "-").split():
        first, dash, last = word.partition("-")
        numbers = [read_number(first), read_number(last) if dash else read_number(first)]
        if None in numbers:
            raise refuse("rows", f"{word[:40]!r} is neither a row number nor two of them as 1-20.")
        ranges.append(numbers)
    return ranges  # type: ignore[return-value]


def list_samples(version: DatasetVersion, preview: BulkPreview) -> list[tuple[int, bool, list[Any]]]:
    """Number, whether the row goes, and its texts: of a row that stays those that change, word by word."""
    mask = find_mask(version)
    samples = []
    for number, before, after in preview.samples:
        shown = mask.apply(before)
        if not after:
            texts = [(name, compare_words(text[:600], "")) for name, text, _ in pair_texts(shown, {})[:3]]
        else:
            pairs = pair_texts(shown, mask.apply(after[0]))
            texts = [(name, compare_words(old[:600], new[:600])) for name, old, new in pairs[:3]]
            longest = max(list_texts(shown), key=lambda one: len(one[1]))
            if longest[0] not in {name for name, _, _ in pairs}:
                texts.insert(0, (longest[0], compare_words(longest[1][:200], longest[1][:200])))
        samples.append((number, not after, texts))
    return samples
