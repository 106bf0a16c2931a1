"""Public links to frozen boards: granted and revoked by an admin of the project, read by whoever has the address."""

import hashlib
import re
import secrets
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from chanote.audit.services import record
from chanote.boards.models import Evaluation, SharedLink, Snapshot, Task
from chanote.boards.services import BoardError
from chanote.datasets.models import Use
from chanote.models.models import Model
from chanote.rights.rules import judge_model, judge_version
from chanote.web.problems import Problem

TOKEN = re.compile(r"[\w-]{43}", re.ASCII)


@transaction.atomic
def grant_link(
    snapshot: Snapshot, *, with_items: bool = False, expires: datetime | None = None, actor: Any = None
) -> tuple[SharedLink, str]:
    """The link, and the token of its address, which is not kept and cannot be told again.

    Raises BoardError when the time is over already, or when items are wanted that may not be published.
    """
    if expires is not None and expires <= timezone.now():
        message = "the link would have expired already; choose a later time, or none"
        raise BoardError(message, [Problem("expires", message)])
    if with_items and (reasons := find_unpublishable(snapshot)):
        message = f"its items may not be published: {' '.join(reasons)} Grant the link without items"
        raise BoardError(message, [Problem("with_items", message)])
    token = secrets.token_urlsafe(32)
    link = SharedLink.objects.create(
        snapshot=snapshot,
        token_sha256=hash_token(token),
        with_items=with_items,
        expires=expires,
        created_by=actor,
    )
    until = expires.isoformat() if expires else ""
    record("board.shared", link, actor=actor, sha256=snapshot.sha256, items=with_items, expires=until)
    return link, token


@transaction.atomic
def revoke_link(link: SharedLink, *, actor: Any = None) -> SharedLink:
    """From now on its address answers 404. A link that was revoked before stays as it is."""
    link = SharedLink.objects.select_for_update().select_related("snapshot__board__project").get(pk=link.pk)
    if link.revoked is None:
        link.revoked, link.revoked_by = timezone.now(), actor
        link.save(update_fields=["revoked", "revoked_by"])
        record("board.unshared", link, actor=actor, sha256=link.snapshot.sha256)
    return link


def find_link(token: str) -> SharedLink | None:
    """The link of an address; None for a token that never was, was revoked, or has expired."""
    if not TOKEN.fullmatch(token):
        return None
    links = SharedLink.objects.select_related("snapshot__board__project").filter(token_sha256=hash_token(token))
    link = links.first()
    return link if link is not None and link.state == "open" else None


def hash_token(token: str) -> str:
    """Tokens are 256 random bits: a plain hash cannot be turned back."""
    return hashlib.sha256(token.encode()).hexdigest()


def list_evaluations(snapshot: Snapshot) -> dict[int, tuple[str, str]]:
    """Task and model of every evaluation that the snapshot shows, by id."""
    return {
        model["evaluation"]: (table["task"], model["model"])
        for table in snapshot.content["tables"]
        for model in table["models"]
    }


def find_unpublishable(snapshot: Snapshot) -> list[str]:
    """Why the questions and answers behind a snapshot may not be published, by what its tasks and models allow now."""
    shown = list_evaluations(snapshot)
    evaluations = Evaluation.objects.filter(pk__in=shown, project=snapshot.project)
    reasons = [] if evaluations.count() == len(shown) else ["Some of its scores are gone."]
    tasks = Task.objects.filter(evaluations__in=evaluations).select_related("dataset_version__dataset").distinct()
    for task in tasks:
        if task.dataset_version_id is None:
            reasons.append(f"Task {task} is known by imported results only, whose rights nothing tells.")
        else:
            refusals = judge_version(task.dataset_version, Use.PUBLISH, field="with_items").refusals
            reasons += [one.message for one in refusals]
    for model in Model.objects.filter(evaluations__in=evaluations).distinct():
        reasons += [one.message for one in judge_model(model, Use.PUBLISH, field="with_items").refusals]
    return list(dict.fromkeys(reasons))
