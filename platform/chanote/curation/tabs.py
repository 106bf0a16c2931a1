"""What the tabs of a dataset's page show of its review, its differences, its lineage and its history."""

from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse

from chanote.accounts.roles import may
from chanote.audit.models import AuditEvent
from chanote.checks.masking import find_mask
from chanote.curation.models import Signature, State
from chanote.curation.queue import ensure_features
from chanote.curation.rules import CHECKLIST, explain_no_signature
from chanote.curation.selectors import find_restricted_kin, standing_of, states_of
from chanote.curation.services import REVIEW
from chanote.datasets.models import DatasetVersion
from chanote.datasets.row_diff import KINDS, PER_PAGE, compare_rows, pair_texts, read_rows_at
from chanote.datasets.row_views import find_language
from chanote.datasets.storage import StoreError
from chanote.review.texts import compare_words
from chanote.web.numbers import read_number

MOST_EVENTS = 100
LONGEST = 4_000
"""Characters of a text that are compared on the page of differences."""


def describe_standing(request: HttpRequest, version: DatasetVersion) -> dict[str, Any]:
    """What every tab shows: the state, and whether this person may sign."""
    standing = standing_of(version)
    return {
        "standing": standing,
        "may_review": may(request.user, REVIEW, version.project),
        "why_not": explain_no_signature(standing, request.user),
    }


def describe_review(request: HttpRequest, version: DatasetVersion) -> dict[str, Any]:
    typed = request.session.pop("review_typed", None) or {}
    kept = typed.get("text", "") if typed.get("version") == version.pk else ""
    act = typed.get("act", "")
    return {
        "checklist": CHECKLIST,
        "restricted_kin": find_restricted_kin(version),
        "signatures": Signature.objects.filter(standing__version=version).order_by("pk"),
        "comments": version.comments.all(),
        "review_action": reverse(
            "version_review_act", args=[version.project.slug, version.dataset.slug, version.number]
        ),
        "typed": {act if act in ("ask", "sign", "comment") else "other": kept},
    }


def describe_diff(request: HttpRequest, version: DatasetVersion, versions: list[DatasetVersion]) -> dict[str, Any]:
    asked = read_number(request.GET.get("against", ""))
    older = next((one for one in versions if one.number < version.number), None)
    against = next((one for one in versions if one.number == asked and one != version), older)
    against = against or next((one for one in versions if one != version), None)
    if against is None:
        return {"diff_against": None, "diff_counts": {}}
    against.dataset = version.dataset
    kind = request.GET.get("kind", "")
    kind = kind if kind in KINDS else ""
    start = read_number(request.GET.get("start", "")) or 0
    try:
        for one in (against, version):
            ensure_features(one)
        found = compare_rows(against, version)
        pairs, total = found.page(kind, start)
        entries = _list_entries(against, version, pairs)
    except StoreError as error:
        return {"diff_against": against, "diff_counts": {}, "broken": str(error)}
    query = f"tab=diff&version={version.number}&against={against.number}" + (f"&kind={kind}" if kind else "")
    return {
        "diff_against": against,
        "diff_counts": found.counts,
        "diff_kept": found.kept,
        "diff_kind": kind,
        "diff_entries": entries,
        "diff_query": query,
        "diff_before": max(start - PER_PAGE, 0) if start else None,
        "diff_after": start + PER_PAGE if start + PER_PAGE < total else None,
        "diff_first": start + 1,
        "diff_last": start + len(entries),
        "diff_total": total,
    }


def _list_entries(old: DatasetVersion, new: DatasetVersion, pairs: list[tuple[int, int]]) -> list[dict[str, Any]]:
    before = read_rows_at(old, [one for one, _ in pairs])
    after = read_rows_at(new, [one for _, one in pairs])
    masks = (find_mask(old), find_mask(new))
    entries = []
    for one, other in pairs:
        texts = [
            (name, find_language(now or was), compare_words(was[:LONGEST], now[:LONGEST]))
            for name, was, now in pair_texts(masks[0].apply(before.get(one, {})), masks[1].apply(after.get(other, {})))
        ]
        kind = "added" if not one else "removed" if not other else "changed"
        entries.append({"old": one, "new": other, "kind": kind, "texts": texts})
    return entries


def list_events(request: HttpRequest, versions: list[DatasetVersion]) -> list[AuditEvent]:
    dataset = versions[0].dataset
    of_versions = Q(object_kind="datasetversion", object_id__in=[str(one.pk) for one in versions])
    of_dataset = Q(object_kind="dataset", object_id=str(dataset.pk))
    events = AuditEvent.objects.visible_to(request.user).filter(project=dataset.project)
    return list(events.filter(of_versions | of_dataset).order_by("-pk")[:MOST_EVENTS])


@dataclass(frozen=True)
class Node:
    x: int
    y: int
    name: str
    note: str
    url: str
    open: bool
    """Drawn dashed: not approved."""

    @property
    def text_x(self) -> int:
        return self.x + 10

    @property
    def name_y(self) -> int:
        return self.y + 18

    @property
    def note_y(self) -> int:
        return self.y + 34


@dataclass
class Drawing:
    nodes: list[Node] = field(default_factory=list)
    edges: list[str] = field(default_factory=list)
    width: int = 760
    height: int = 54
    summary: str = ""


STEP_X, STEP_Y, BOX_X, BOX_Y = 250, 56, 170, 44
MOST_PARENTS = 6


def draw_lineage(version: DatasetVersion) -> Drawing:
    """The version between what it was made of and what was made of it, one step to either side."""
    made_of = list(version.drawn_from.select_related("dataset__project")[:MOST_PARENTS])
    if version.parent is not None and version.parent not in made_of:
        made_of.insert(0, version.parent)
    into = DatasetVersion.objects.filter(Q(drawn_from=version) | Q(parent=version)).distinct()
    made_into = list(into.select_related("dataset__project").order_by("pk")[:MOST_PARENTS])
    columns = [made_of, [version], made_into]
    tallest = max(map(len, columns))
    states = states_of([*made_of, version, *made_into])
    drawing = Drawing(height=tallest * STEP_Y, summary=_tell(version, made_of, made_into))
    if not made_of and not made_into:
        return Drawing()
    places: list[list[tuple[int, int]]] = []
    for place, column in enumerate(columns):
        top = (tallest - len(column)) * STEP_Y // 2 + 5
        places.append([(place * STEP_X + 1, top + row * STEP_Y) for row in range(len(column))])
        for (x, y), one in zip(places[-1], column, strict=True):
            state = states[one.pk]
            url = f"{one.dataset.get_absolute_url()}?tab=versions&version={one.number}"
            drawing.nodes.append(
                Node(x, y, _cut(one.reference), f"{one.rows:,} rows, {state.label}", url, state == State.DRAFT)
            )
    middle = places[1][0]
    for x, y in places[0]:
        drawing.edges.append(_join(x, y, *middle))
    for x, y in places[2]:
        drawing.edges.append(_join(*middle, x, y))
    drawing.width = 2 * STEP_X + BOX_X + 2
    return drawing


def _join(x1: int, y1: int, x2: int, y2: int) -> str:
    start, half, level = x1 + BOX_X, BOX_Y // 2, (x1 + BOX_X + x2) // 2
    return f"M{start} {y1 + half}H{level}V{y2 + half}H{x2 - 2}"


def _cut(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"


def _tell(version: DatasetVersion, made_of: list[DatasetVersion], made_into: list[DatasetVersion]) -> str:
    told = f"{version.reference} was made of {', '.join(one.reference for one in made_of) or 'a file'}"
    return f"{told}; of it came {', '.join(one.reference for one in made_into)}" if made_into else told
