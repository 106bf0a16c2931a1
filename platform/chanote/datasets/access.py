"""Who may see, change and sign a version, who has, and what has left or used it: the tab *Access*."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chanote.accounts.models import Membership, User
from chanote.accounts.roles import may
from chanote.audit.models import AuditEvent
from chanote.curation.models import Signature, Standing, State
from chanote.curation.rules import explain_no_signature_of
from chanote.custody.models import BundleExport, Subject
from chanote.datasets.models import DatasetVersion, Use
from chanote.datasets.pages import WORDS, UseChip
from chanote.rights.models import ExceptionRequest
from chanote.rights.rules import judge_version

MOST_SHOWN = 100


@dataclass(frozen=True)
class Person:
    username: str
    name: str
    role: str
    changes: bool
    signs: bool
    why_not: str
    """Why this person may not sign; empty where they may."""


@dataclass(frozen=True)
class Term:
    chip: UseChip
    sentences: list[str]
    """Why the version may not be used so today."""


def describe_access(version: DatasetVersion, standing: Standing) -> dict[str, Any]:
    """What `datasets/_access.html` shows; a fixed number of queries however many people there are."""
    project = version.project
    memberships = Membership.objects.filter(project=project).select_related("user").order_by("role", "user__username")
    people = _describe_people(memberships, standing)
    exports = BundleExport.objects.filter(project=project, kind=Subject.DATASET, name=version.reference)
    unmasked = AuditEvent.objects.filter(
        project=project, object_kind="datasetversion", object_id=str(version.pk), verb="dataset.row_unmasked"
    )
    return {
        "people": people,
        "administrators": list(User.objects.filter(is_superuser=True, is_active=True).order_by("username")),
        "signatures": Signature.objects.filter(standing__version=version).order_by("pk"),
        "terms": _list_terms(version),
        "exceptions": ExceptionRequest.objects.filter(version=version).select_related("requested_by", "decided_by"),
        "exports": exports.select_related("created_by").order_by("-pk")[:MOST_SHOWN],
        "unmasked": unmasked.count(),
        "signing_is_open": standing.state == State.IN_REVIEW,
    }


def _describe_people(memberships: Iterable[Membership], standing: Standing) -> list[Person]:
    rights: dict[str, tuple[bool, bool]] = {}
    people = []
    for one in memberships:
        if one.user.is_active and one.role not in rights:
            asked = (may(one.user, name, standing.project) for name in ("datasets.change", "datasets.review"))
            rights[one.role] = (next(asked), next(asked))
        changes, reviews = rights.get(one.role, (False, False)) if one.user.is_active else (False, False)
        why = explain_no_signature_of(standing, one.user) if reviews else "The role does not include reviews."
        if not one.user.is_active:
            why = "The account is closed."
        people.append(
            Person(one.user.username, one.user.get_full_name(), str(one.get_role_display()), changes, not why, why)
        )
    return people


def _list_terms(version: DatasetVersion) -> list[Term]:
    terms = []
    for use, word in WORDS.items():
        refusals = judge_version(version, Use(use)).refusals
        terms.append(Term(UseChip(word, not refusals), [one.message for one in refusals]))
    return terms
