"""Pages of curation: acts of a review, and a person's own draft of changes. The queue and bulk changes lie beside."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from chanote.accounts.roles import may
from chanote.curation.carrying import carry_over
from chanote.curation.changes import apply_changes, drop_changes, find_change_set, undo_change
from chanote.curation.errands import APPLY
from chanote.curation.models import Change, ChangeSet
from chanote.curation.operations import describe
from chanote.curation.services import (
    CHANGE,
    CurationRefused,
    add_comment,
    ask_for_review,
    restrict_version,
    return_version,
    sign_version,
    withdraw_version,
)
from chanote.datasets.features import AT_ONCE
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import StoreError
from chanote.errands.services import start_errand
from chanote.web.numbers import read_number
from chanote.web.projects import get_project

MOST_SHOWN = 200


def find_version(request: HttpRequest, project: str, slug: str, number: int) -> DatasetVersion:
    """The version, if the person may see its project; 404 otherwise."""
    found = get_project(request, project)
    versions = DatasetVersion.objects.visible_to(request.user).select_related(
        "dataset", "created_by", "parent__dataset"
    )
    version = get_object_or_404(versions, dataset__project=found, dataset__slug=slug, number=number)
    version.dataset.project = found
    return version


def tell_missing_rows(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A page about a version whose rows are gone from the store says so, and what brings them back."""

    @wraps(view)
    def answer(request: HttpRequest, project: str, slug: str, number: int) -> HttpResponse:
        try:
            return view(request, project, slug, number)
        except StoreError as error:
            version = find_version(request, project, slug, number)
            told = {"project": version.project, "dataset": version.dataset, "version": version, "broken": str(error)}
            return render(request, "curation/missing.html", told, status=422)

    return answer


def tab_address(version: DatasetVersion, tab: str) -> str:
    return f"{version.dataset.get_absolute_url()}?tab={tab}&version={version.number}"


@login_required
@require_POST
def review_act(request: HttpRequest, project: str, slug: str, number: int) -> HttpResponse:
    """One act on the standing of a version, then back to its review."""
    version = find_version(request, project, slug, number)
    sent, actor = request.POST, request.user
    reason = sent.get("reason", "")
    acts: dict[str, tuple[Callable[[], Any], str]] = {
        "ask": (
            lambda: ask_for_review(version, restricted="restricted" in sent, note=reason, actor=actor),
            "The review is asked for. Somebody else must sign.",
        ),
        "sign": (
            lambda: sign_version(version, checklist=sent.getlist("checklist"), note=reason, actor=actor),
            "You have signed this version.",
        ),
        "return": (lambda: return_version(version, reason=reason, actor=actor), "The version is a draft again."),
        "restrict": (lambda: restrict_version(version, reason=reason, actor=actor), "The data is restricted."),
        "withdraw": (lambda: withdraw_version(version, reason=reason, actor=actor), "The version is withdrawn."),
        "comment": (
            lambda: add_comment(version, text=sent.get("text", ""), row=read_number(sent.get("row", "")), actor=actor),
            "Your comment is kept.",
        ),
    }
    act, done = acts.get(sent.get("act", ""), (None, ""))
    if act is not None:
        try:
            act()
        except CurationRefused as refused:
            messages.error(request, str(refused))
            # What was typed comes back into the form it was typed in.
            request.session["review_typed"] = {
                "act": sent["act"],
                "version": version.pk,
                "text": reason or sent.get("text", ""),
            }
        else:
            messages.success(request, done)
    return redirect(tab_address(version, "review"))


@login_required
@require_http_methods(["GET", "POST"])
@tell_missing_rows
def changes(request: HttpRequest, project: str, slug: str, number: int) -> HttpResponse:
    """The person's draft of changes to a version: undo one, drop all, or make a version of them."""
    version = find_version(request, project, slug, number)
    draft = find_change_set(version, request.user)
    problem = ""
    if draft is not None:
        draft.version = version
    if request.method == "POST" and draft is not None:
        try:
            answer = _act_on_draft(request, version, draft)
        except CurationRefused as refused:
            problem = str(refused)
        else:
            return answer
    listed = list(draft.changes.order_by("-number")[: MOST_SHOWN + 1]) if draft else []
    sets = ChangeSet.objects.filter(version=version)
    context = {
        "project": version.project,
        "dataset": version.dataset,
        "version": version,
        "draft": draft,
        "changes": [(one, describe(one.operation)) for one in listed[:MOST_SHOWN]],
        "total": draft.changes.count() if draft else 0,
        "newest": version.dataset.versions.order_by("-number").first(),
        "problem": problem,
        "reason": request.POST.get("reason", ""),
        "may_change": may(request.user, CHANGE, version.project),
        "earlier": sets.filter(result__isnull=False).select_related("result__dataset")[:20],
        "others": sets.filter(status="open").exclude(author=request.user.pk)[:20],
    }
    return render(request, "curation/changes.html", context, status=422 if problem else 200)


def _act_on_draft(request: HttpRequest, version: DatasetVersion, draft: ChangeSet) -> HttpResponse:
    here = reverse("row_changes", args=[version.project.slug, version.dataset.slug, version.number])
    match request.POST.get("act"):
        case "undo":
            change = get_object_or_404(
                Change, change_set=draft, number=read_number(request.POST.get("number", "")) or 0
            )
            undo_change(change, actor=request.user)
            messages.info(request, f"Undone: {describe(change.operation)}.")
        case "drop":
            drop_changes(draft, actor=request.user)
            messages.info(request, "The changes are dropped; the rows are as they were.")
        case "carry":
            newest = version.dataset.versions.order_by("-number")[0]
            newest.dataset = version.dataset
            carried = carry_over(draft, newest, actor=request.user)
            messages.success(request, f"{carried.kept:,} changes are carried over to {newest.reference}.")
            if carried.left or carried.lost_rows:
                messages.warning(
                    request,
                    f"Left out, because the rows are not there as they were: {carried.left:,} changes, and "
                    f"{carried.lost_rows:,} rows of changes to many.",
                )
            return redirect(reverse("row_changes", args=[version.project.slug, version.dataset.slug, newest.number]))
        case "apply":
            reason = request.POST.get("reason", "")
            if version.rows > AT_ONCE:
                errand = _apply_later(request, version, draft, reason)
                return redirect(errand.get_absolute_url())
            made = apply_changes(draft, reason=reason, actor=request.user)
            messages.success(request, f"{made.reference} holds {made.rows:,} rows. It is a draft until it is reviewed.")
            return redirect(f"{tab_address(made, 'diff')}&against={version.number}")
    return redirect(here)


def _apply_later(request: HttpRequest, version: DatasetVersion, draft: ChangeSet, reason: str) -> Any:
    from chanote.curation.services import read_text

    read_text("reason", reason, needed=True)
    return start_errand(
        APPLY,
        project=version.project,
        actor=request.user,
        config={"change_set": draft.pk, "reason": reason},
        title=f"New version of {version.dataset.slug} with {draft.changes.count():,} changes",
        subject=version.dataset,
    )
