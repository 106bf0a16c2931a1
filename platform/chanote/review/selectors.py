"""Reads of the inbox and of labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.urls import reverse

from chanote.accounts.models import Project
from chanote.review.models import Label, LabelKind, Pick
from chanote.review.rules import RULES
from chanote.runs.lineage import find_rollout_files
from chanote.runs.models import Run
from chanote.web.numbers import read_number

PLACE = {name: OuterRef(name) for name in ("run", "attempt", "step", "group", "index")}


@dataclass(frozen=True)
class InboxWish:
    """Which picks a reader asked for."""

    run: int | None = None
    rule: str = ""
    """Of RULES."""
    mine: bool = False
    """Also what others have labelled, as long as the reader has not."""

    @property
    def is_filtered(self) -> bool:
        return self.run is not None or bool(self.rule)


def read_inbox_wish(query: Mapping[str, str]) -> InboxWish:
    """What the address asks for; what it cannot mean is passed over."""
    rule = query.get("rule", "")
    return InboxWish(
        run=read_number(query.get("run", "")),
        rule=rule if rule in RULES else "",
        mine=query.get("unseen") == "mine",
    )


def find_picks(project: Project, wish: InboxWish, user: Any) -> QuerySet[Pick]:
    """Picks that wait for a label, the oddest first."""
    labels = Label.objects.filter(**PLACE)
    if wish.mine:
        labels = labels.filter(author=user)
    picks = Pick.objects.filter(run__project=project, sifted__current=True).exclude(Exists(labels))
    if wish.run is not None:
        picks = picks.filter(run__number=wish.run)
    if wish.rule:
        picks = picks.filter(rules__contains=f",{wish.rule},")
    return picks.select_related("run__project").order_by("-oddness", "-run__number", "-step", "group", "index")


def find_picked_runs(project: Project) -> list[tuple[int, str]]:
    """Number and name of the runs of which something was picked, the newest first."""
    picked = Pick.objects.filter(run=OuterRef("pk"), sifted__current=True)
    runs = Run.objects.filter(Exists(picked), project=project).order_by("-number")
    return list(runs.values_list("number", "name"))


@dataclass(frozen=True)
class LabelWish:
    run: int | None = None
    label: str = ""
    author: str = ""

    @property
    def is_filtered(self) -> bool:
        return self.run is not None or bool(self.label or self.author)


def read_label_wish(query: Mapping[str, str]) -> LabelWish:
    label = query.get("label", "")
    return LabelWish(
        run=read_number(query.get("run", "")),
        label=label if label in LabelKind.values else "",
        author=query.get("author", "").replace("\0", "")[:150],
    )


def find_labels(project: Project, wish: LabelWish) -> QuerySet[Label]:
    labels = Label.objects.filter(run__project=project)
    if wish.run is not None:
        labels = labels.filter(run__number=wish.run)
    if wish.label:
        labels = labels.filter(label=wish.label)
    if wish.author:
        labels = labels.filter(author_name=wish.author)
    return labels.select_related("run__project", "author")


@dataclass(frozen=True)
class LabelState:
    """What the label bar of one rollout shows."""

    step: int
    group: int
    index: int
    own: Label | None
    others: Sequence[Label]
    earlier: int
    """Labels of what another attempt sampled in the same place."""
    pick: Pick | None
    """Why the inbox has picked it."""
    following: Pick | None
    """What comes next in the inbox."""
    choices: Sequence[tuple[str, str]] = tuple(LabelKind.choices)

    @property
    def place(self) -> str:
        return f"{self.group}.{self.index}"


def describe_labels(run: Run, *, step: int, group: int, index: int, user: Any) -> LabelState:
    file = find_rollout_files(run).filter(step=step).first()
    attempt = file.attempt.number if file else 0
    given = list(Label.objects.filter(run=run, step=step, group=group, index=index).order_by("created"))
    own = next((one for one in given if one.attempt == attempt and one.author_id == user.pk), None)
    pick = Pick.objects.filter(run=run, attempt=attempt, step=step, group=group, index=index).first()
    return LabelState(
        step=step,
        group=group,
        index=index,
        own=own,
        others=[one for one in given if one.attempt == attempt and one is not own],
        earlier=sum(one.attempt != attempt for one in given),
        pick=pick,
        following=_find_following(run.project, pick, user) if pick else None,
    )


def _find_following(project: Project, pick: Pick, user: Any) -> Pick | None:
    """The next that waits after this one; the first of all where this was the last."""
    waiting = find_picks(project, InboxWish(), user).exclude(pk=pick.pk)
    behind = Q(oddness__lt=pick.oddness) | Q(oddness=pick.oddness, run__number__lt=pick.run.number)
    behind |= Q(oddness=pick.oddness, run=pick.run, step__lt=pick.step)
    behind |= Q(oddness=pick.oddness, run=pick.run, step=pick.step, group__gt=pick.group)
    behind |= Q(oddness=pick.oddness, run=pick.run, step=pick.step, group=pick.group, index__gt=pick.index)
    return waiting.filter(behind).first() or waiting.first()


def link_rollout(run: Run, *, step: int, group: int, index: int) -> str:
    address = reverse("run_rollouts", args=[run.project.slug, run.number])
    return f"{address}?step={step}&open={group}.{index}#rollouts"
