"""Which rollouts of a run a reader asked for, in which order, and a page of them that costs the same wherever it is."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db import connection
from django.db.models import Exists, F, Max, Min, OuterRef, Q, QuerySet

from chanote.review.models import Label, LabelKind
from chanote.runs.lineage import find_counted, find_rollout_files
from chanote.runs.models import RolloutRow, Run
from chanote.runs.rollout_search import find_said
from chanote.web.numbers import read_number

PER_PAGE = 40
COUNTED = 1_000
"""Matches are counted up to here; of more it is said that they are more."""
SORTS: dict[str, tuple[str, str]] = {
    "place": ("Step", ""),
    "reward": ("Reward", "reward"),
    "advantage": ("Advantage", "advantage"),
    "length": ("Length", "tokens"),
    "calls": ("Calls", "calls"),
    "detail": ("Detail", "detail"),
}
"""Name in the address → label and column; by place when there is none."""
PLACE = ("step", "group", "index", "id")
FLAGS: dict[str, tuple[str, Q]] = {
    "masked": ("Masked", Q(masked=True)),
    "trained": ("Trained", Q(masked=False)),
    "cut": ("Cut", Q(cut=True)),
    "malformed": ("Malformed call", Q(rejected_calls__gt=0)),
    "tool_error": ("Tool error", Q(failed_calls__gt=0)),
    "no_calls": ("No calls", Q(calls=0)),
    "failing": (
        "Anything wrong",
        Q(masked=True) | Q(cut=True) | Q(rejected_calls__gt=0) | Q(failed_calls__gt=0) | Q(reward__lte=0),
    ),
}
"""Name in the address → label and rows. Several together: rows that have all of them."""


LABELS = {"any": "Labelled", "none": "Not labelled", **{str(kind): kind.label.capitalize() for kind in LabelKind}}
"""Name in the address → label."""


@dataclass(frozen=True)
class RolloutWish:
    """Filters and order of the list. `low` and `high` are rewards, `first` and `last` steps, all inclusive."""

    words: str = ""
    first: int | None = None
    last: int | None = None
    group: int | None = None
    gradient: str = ""
    """`masked`, `trained`, or any."""
    ending: str = ""
    """`cut`, `whole`, or any."""
    stop: str = ""
    """A stop reason."""
    flags: tuple[str, ...] = ()
    """Of FLAGS."""
    label: str = ""
    """Of LABELS: what somebody said of it."""
    low: float | None = None
    high: float | None = None
    sort: str = "place"
    """Of SORTS."""
    descending: bool = False

    @property
    def is_filtered(self) -> bool:
        """Beyond the steps."""
        return replace(self, first=None, last=None, sort="place", descending=False) != RolloutWish()

    @property
    def order(self) -> str:
        """As the address has it."""
        name = "" if self.sort == "place" and not self.descending else self.sort
        return f"{'-' if self.descending else ''}{name}"


def read_rollout_wish(query: Mapping[str, Any]) -> RolloutWish:
    """What the address asks for; what it cannot mean is passed over."""
    sort = query.get("sort", "")
    gradient, ending = query.get("gradient", ""), query.get("ending", "")
    flags = query.getlist("flag") if hasattr(query, "getlist") else query.get("flag", "").split(",")
    name = sort.lstrip("-")
    return RolloutWish(
        words=query.get("q", "").strip()[:200],
        first=read_number(query.get("from", "")),
        last=read_number(query.get("to", "")),
        gradient=gradient if gradient in {"masked", "trained"} else "",
        ending=ending if ending in {"cut", "whole"} else "",
        stop=query.get("stop", "").replace("\0", "")[:30],
        flags=tuple(flag for flag in FLAGS if flag in flags),
        label=label if (label := query.get("label", "")) in LABELS else "",
        low=_read_reward(query.get("low", "")),
        high=_read_reward(query.get("high", "")),
        sort=name if name in SORTS else "place",
        descending=sort.startswith("-"),
    )


def _read_reward(text: str) -> float | None:
    try:
        value = float(text[:40].replace("\N{MINUS SIGN}", "-").replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def find_rows(run: Run, wish: RolloutWish) -> QuerySet[RolloutRow]:
    """The rows that the wish admits, of the attempts that led to where the run is. Without order."""
    rows = RolloutRow.objects.filter(_of_counted(run), run=run)
    worth = "reward"
    if connection.vendor == "sqlite" and wish.sort != "reward":
        # Without statistics SQLite would read a range of rewards off their index and sort half of the run.
        rows, worth = rows.alias(worth=F("reward") + 0.0), "worth"
    bounds = {
        "step__gte": wish.first,
        "step__lte": wish.last,
        "group": wish.group,
        f"{worth}__gte": wish.low,
        f"{worth}__lte": wish.high,
        "stop_reason": wish.stop or None,
        "masked": {"masked": True, "trained": False}.get(wish.gradient),
        "cut": {"cut": True, "whole": False}.get(wish.ending),
    }
    rows = rows.filter(**{name: value for name, value in bounds.items() if value is not None})
    for flag in wish.flags:
        rows = rows.filter(FLAGS[flag][1])
    rows = rows.filter(_find_labelled(wish.label)) if wish.label else rows
    rows = rows.filter(find_said(run, wish.words)) if wish.words else rows
    return rows.order_by()


def _find_labelled(wanted: str) -> Q:
    labels = Label.objects.filter(**{name: OuterRef(name) for name in ("run", "attempt", "step", "group", "index")})
    if wanted in LabelKind.values:
        labels = labels.filter(label=wanted)
    return ~Q(Exists(labels)) if wanted == "none" else Q(Exists(labels))


def _of_counted(run: Run) -> Q:
    wanted = Q(pk__in=[])
    for attempt, last_step in find_counted(run):
        wanted |= Q(attempt=attempt.number) if last_step is None else Q(attempt=attempt.number, step__lte=last_step)
    return wanted


@dataclass(frozen=True)
class RowPage:
    """A page of the list. `before` and `after` are rows to go on from; None at an end."""

    rows: list[RolloutRow]
    before: int | None
    after: int | None


@dataclass(frozen=True)
class Stretch:
    """Rows of one kind, in the order of the keys."""

    rows: QuerySet[RolloutRow]
    keys: tuple[str, ...]
    descending: bool

    def parts(self, anchor: RolloutRow | None) -> Iterator[QuerySet[RolloutRow]]:
        """All rows, or those after the anchor; nearest first, each part one range of an index."""
        order = [f"-{key}" if self.descending else key for key in self.keys]
        if anchor is None:
            yield self.rows.order_by(*order)
            return
        word = "lt" if self.descending else "gt"
        for place in reversed(range(len(self.keys))):
            equal = {key: getattr(anchor, key) for key in self.keys[:place]}
            key = self.keys[place]
            yield self.rows.filter(**equal, **{f"{key}__{word}": getattr(anchor, key)}).order_by(*order[place:])


class RolloutList:
    """The rollouts of a run as they were wished for."""

    def __init__(self, run: Run, wish: RolloutWish) -> None:
        self.run, self.wish = run, wish
        self.rows = find_rows(run, wish)

    def page(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        at: RolloutRow | None = None,
        size: int = PER_PAGE,
    ) -> RowPage:
        """The rows after `after`, or before `before`, or around `at` where it is among them, or the first."""
        if anchor := self._find(before):
            found = self.preceding(anchor, size + 1)
            shown = found[-size:]
            return RowPage(shown, _first(shown) if len(found) > size else None, _last(shown))
        if anchor := self._find(after):
            found = self.following(anchor, size + 1)
            shown = found[:size]
            return RowPage(shown, _first(shown), _last(shown) if len(found) > size else None)
        if at is not None and self.rows.filter(pk=at.pk).exists():
            ahead = self.preceding(at, size // 4 + 1)
            shown = [*ahead[-(size // 4) :], at]
            found = self.following(at, size + 1 - len(shown))
            page = [*shown, *found][:size]
            more = len(shown) + len(found) > size
            return RowPage(page, _first(page) if len(ahead) > size // 4 else None, _last(page) if more else None)
        found = self.following(None, size + 1)
        shown = found[:size]
        return RowPage(shown, None, _last(shown) if len(found) > size else None)

    def following(self, row: RolloutRow | None, count: int) -> list[RolloutRow]:
        """The rows after this one, nearest first; from the beginning without one."""
        return self._take(self._stretches(), row, count)

    def preceding(self, row: RolloutRow, count: int) -> list[RolloutRow]:
        """The rows before this one, in the order of the list."""
        turned = [Stretch(one.rows, one.keys, not one.descending) for one in reversed(self._stretches())]
        return self._take(turned, row, count)[::-1]

    def count(self) -> int:
        """How many there are, up to one more than COUNTED."""
        return self.rows.values("pk")[: COUNTED + 1].count()

    def pick(self) -> RolloutRow | None:
        """One of them by chance: of the first step that has any, from a step drawn from all on."""
        steps = find_rollout_files(self.run).order_by()
        ends = steps.aggregate(first=Min("step"), last=Max("step"))
        if ends["first"] is None:
            return None
        first = max(ends["first"], self.wish.first if self.wish.first is not None else ends["first"])
        last = min(ends["last"], self.wish.last if self.wish.last is not None else ends["last"])
        drawn = random.randint(first, max(first, last))
        found = self.rows.filter(step__gte=drawn).order_by(*PLACE).first() or self.rows.order_by(*PLACE).first()
        if found is None:
            return None
        return random.choice(self.rows.filter(step=found.step))

    def _stretches(self) -> list[Stretch]:
        """Rows without the number that they are ordered by come last, whatever the direction."""
        column = SORTS[self.wish.sort][1]
        if not column:
            return [Stretch(self.rows, PLACE, self.wish.descending)]
        known, unknown = (self.rows.filter(**{f"{column}__isnull": empty}) for empty in (False, True))
        return [Stretch(known, (column, "id"), self.wish.descending), Stretch(unknown, ("id",), False)]

    def _take(self, stretches: list[Stretch], row: RolloutRow | None, count: int) -> list[RolloutRow]:
        if row is not None and len(stretches) > 1:
            column = SORTS[self.wish.sort][1]
            own = ("id",) if getattr(row, column) is None else (column, "id")
            while stretches[0].keys != own:
                stretches = stretches[1:]
        found: list[RolloutRow] = []
        for place, stretch in enumerate(stretches):
            for part in stretch.parts(row if place == 0 else None):
                if len(found) < count:
                    found += part.select_related("prompt").defer("prompt__body")[: count - len(found)]
        return found

    def _find(self, pk: int | None) -> RolloutRow | None:
        """A row of the run, whether or not it is wished for."""
        return RolloutRow.objects.filter(pk=pk, run=self.run).first() if pk is not None else None


def _first(rows: list[RolloutRow]) -> int | None:
    return rows[0].pk if rows else None


def _last(rows: list[RolloutRow]) -> int | None:
    return rows[-1].pk if rows else None
