"""The same prompt in other steps of a run and in other runs of the project, side by side.

A prompt is the same where it came from the same row of the same dataset version, or where its text is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404

from chanote.accounts.models import Project
from chanote.review.models import Label, StoredPrompt
from chanote.review.sifting import CONTROL, Progress, find_due, sift, sift_project
from chanote.review.texts import Passage, compare_words, share_kept
from chanote.runs.lineage import find_rollout_files
from chanote.runs.models import RolloutFile, Run
from chanote.runs.rollout_files import read_group
from chanote.runs.rollout_masks import find_mask_of_run, mask_rollout
from chanote.runs.rollout_view import RolloutView, read_weights, view_group
from chanote.tools.models import ToolCall
from chanote.web.numbers import read_numbers
from trainer.contract.rollouts import StoredRollout

MOST_COLUMNS = 4
MOST_CALLS = 40


@dataclass(frozen=True)
class Place:
    """Where a rollout stands: `3.12.0.1` in the address, or `3.12.0` for the best of its group."""

    run: int
    step: int
    group: int
    index: int | None = None

    def __str__(self) -> str:
        parts = (self.run, self.step, self.group, self.index)
        return ".".join(str(part) for part in parts if part is not None)


def read_places(asked: Sequence[str]) -> list[Place]:
    """The places that the address names, each prompt once; what cannot be meant is passed over."""
    places: list[Place] = []
    for text in asked:
        numbers = read_numbers(text)
        if numbers is None or len(numbers) not in (3, 4):
            continue
        place = Place(*numbers)
        if all(replace(place, index=None) != replace(one, index=None) for one in places):
            places.append(place)
    return places[:MOST_COLUMNS]


@dataclass(frozen=True)
class Column:
    """One rollout of the prompt, beside the others of its group."""

    place: Place
    run: Run
    views: list[RolloutView]
    one: RolloutView | None
    passages: list[Passage]
    """Against the first column, whose own are plain."""
    kept: float | None
    calls: list[ToolCall]
    labels: list[Label]
    fault: str
    others: str
    """The address without this column; empty for the first."""
    group_links: list[tuple[RolloutView, str]]
    """The rollouts of the group, each with the address that shows it here."""

    @property
    def step(self) -> int:
        return self.place.step

    @property
    def group(self) -> int:
        return self.place.group

    @property
    def index(self) -> int:
        return self.one.stored.index if self.one else 0


@dataclass
class Comparison:
    prompt: str
    row: str
    reference: str
    progress: Progress
    found: QuerySet[StoredPrompt]
    """Everywhere that the prompt was sampled, this place among them."""
    columns: list[Column] = field(default_factory=list)
    texts_differ: bool = False
    """The same row was shown to the policies in different words, as by another chat template."""


def compare_prompt(project: Project, places: Sequence[Place]) -> Comparison:
    """Raises Http404 when the first place is no rollout of the project."""
    first = places[0]
    run = Run.objects.filter(project=project, number=first.run).select_related("project").first()
    file = find_rollout_files(run).filter(step=first.step).first() if run else None
    if run is None or file is None:
        raise Http404(f"Step {first.step} of run {first.run} stored no rollouts.")
    if find_due(RolloutFile.objects.filter(pk=file.pk)).exists():
        sift(RolloutFile.objects.select_related("attempt__run").get(pk=file.pk))
    progress = sift_project(project, run=run)
    here = StoredPrompt.objects.filter(sifted__file=file, group=first.group).first()
    if here is None:
        raise Http404(f"Step {first.step} of run {first.run} has no prompt {first.group}.")
    found = find_same(project, here)
    chosen = list(places) if len(places) > 1 else [first, *choose_others(found, first)]
    columns = _read_columns(project, chosen)
    shown = next((column.one for column in columns if column.one), None)
    return Comparison(
        prompt=shown.prompt if shown else "",
        row=here.row,
        reference=shown.stored.reference if shown else "",
        progress=progress,
        found=found,
        columns=columns,
        texts_differ=found.exclude(sha256=here.sha256).exists(),
    )


def find_same(project: Project, prompt: StoredPrompt) -> QuerySet[StoredPrompt]:
    same = Q(sha256=prompt.sha256)
    if prompt.row:
        same |= Q(row=prompt.row)
    found = StoredPrompt.objects.filter(same, run__project=project, sifted__current=True)
    return found.select_related("run__project").order_by("-run__number", "-step", "group")


def choose_others(found: QuerySet[StoredPrompt], first: Place) -> list[Place]:
    """Beside a rollout when nobody chose: the first and the last step of its run, and the newest other run."""
    others = found.exclude(run__number=first.run, step=first.step, group=first.group)
    own = others.filter(run__number=first.run).order_by("step", "group")
    elsewhere = others.exclude(run__number=first.run)
    chosen = [own.first(), own.last(), elsewhere.first()]
    places = [Place(one.run.number, one.step, one.group) for one in chosen if one is not None]
    return list(dict.fromkeys(places))


def _read_columns(project: Project, places: Sequence[Place]) -> list[Column]:
    columns: list[Column] = []
    runs = {run.number: run for run in Run.objects.filter(project=project, number__in=[one.run for one in places])}
    written = ""
    for number, place in enumerate(places):
        run = runs.get(place.run)
        if run is None:
            continue
        run.project = project
        file = find_rollout_files(run).filter(step=place.step).first()
        stored, fault = read_group(file, place.group) if file else ([], f"Step {place.step:,} stored no rollouts.")
        mask = find_mask_of_run(run)
        stored = [mask_rollout(each, mask) for each in stored]
        views = view_group(stored, weights=read_weights(run.snapshot, file.stage) if file else {}, most=0)
        one = _choose(views, place.index)
        text = read_written(one.stored) if one else ""
        passages = compare_words(written, text) if columns else [Passage(text)]
        written = written if columns else text
        others = [other for other in places if other is not place]
        columns.append(
            Column(
                place=place,
                run=run,
                views=views,
                one=one,
                passages=passages,
                kept=share_kept(passages) if columns else None,
                calls=_read_calls(run, file, place, one) if file and one else [],
                labels=_read_labels(run, file, place, one) if file and one else [],
                fault="" if one else fault or f"Step {place.step:,} has no such rollout of prompt {place.group}.",
                others=write_address(others) if number else "",
                group_links=[
                    (view, write_address(_exchange(places, place, replace(place, index=view.stored.index))))
                    for view in views
                ],
            )
        )
    return columns


def write_address(places: Sequence[Place]) -> str:
    return "&".join(f"at={place}" for place in places)


def _exchange(places: Sequence[Place], old: Place, new: Place) -> list[Place]:
    return [new if place is old else place for place in places]


def _choose(views: Sequence[RolloutView], index: int | None) -> RolloutView | None:
    """The rollout that was asked for, or the one with the highest reward."""
    if index is not None:
        return next((view for view in views if view.stored.index == index), None)
    return max(views, key=lambda view: (_reward(view.stored), -view.stored.index), default=None)


def _reward(stored: StoredRollout) -> float:
    return float("-inf") if stored.reward is None else stored.reward


def read_written(rollout: StoredRollout) -> str:
    """All that the policy wrote: its turns, without what stands between them and without control tokens."""
    if not rollout.turns:
        return CONTROL.sub("", rollout.text).strip()
    turns = ("".join(rollout.tokens[start:end]) for start, end in rollout.turns)
    return "\n\n".join(CONTROL.sub("", turn).strip() for turn in turns)


def _read_calls(run: Run, file: RolloutFile, place: Place, one: RolloutView) -> list[ToolCall]:
    made = ToolCall.objects.filter(run=run, step=place.step, rollout=f"{place.group}.{one.stored.index}")
    calls = list(made.filter(Q(attempt=file.attempt) | Q(attempt=None)).order_by("turn", "id")[:MOST_CALLS])
    mask = find_mask_of_run(run)
    for call in calls:
        call.arguments, call.output = mask.apply(call.arguments), mask.apply(call.output)
    return calls


def _read_labels(run: Run, file: RolloutFile, place: Place, one: Any) -> list[Label]:
    given = {"attempt": file.attempt.number, "step": place.step, "group": place.group, "index": one.stored.index}
    return list(Label.objects.filter(run=run, **given).order_by("created"))
