"""Pictures of mixtures: the share of every source over the course of a stage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chanote.accounts.models import Project
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version
from trainer.contract import Recipe, TrainingStage
from trainer.contract.mixture import MixtureSource, Span, limit_of, plan_shares
from trainer.contract.stages.ink_grpo import InkGrpoStage
from trainer.contract.stages.rollouts import RolloutStage

LEFT, RIGHT, TOP, BOTTOM = 44, 488, 14, 164
"""Edges of the plotting area in the drawing's own units."""
LINE_STYLES = 8
LEAST_LABELLED = 0.09, 0.04
"""Height and width of a band, as shares of the picture, that have room for its number."""
MOST_COLUMNS = 5
"""Parts of a stage that the table shows; with more it shows the whole alone."""


@dataclass(frozen=True)
class Band:
    number: int
    style: int
    """From 1: which colour."""
    path: str
    label: tuple[float, float] | None
    """Where its number stands; None where the band is too thin everywhere."""


@dataclass(frozen=True)
class SourceLine:
    """A source in the table beside the picture."""

    number: int
    style: int
    name: str
    note: str
    overall: float
    """Share of all that is drawn."""
    shares: list[float]
    """In each column of the table."""
    amount: float | None = None
    """What was drawn, in the picture's unit."""
    planned: float | None = None
    """The overall share as the recipe has it, where the picture shows what was drawn."""


@dataclass(frozen=True)
class Picture:
    title: str
    unit: str
    """tokens or prompts."""
    bands: list[Band]
    lines: list[SourceLine]
    columns: list[str]
    """Headings of the parts of the stage in the table."""
    ticks: list[tuple[float, str]]
    remarks: list[str] = field(default_factory=list)
    drawn: bool = False
    """Whether it shows what was drawn in place of what is planned."""


@dataclass(frozen=True)
class Mixture:
    """The sources of one field of a stage."""

    stage: int
    title: str
    unit: str
    sources: Sequence[MixtureSource]
    total: float | None
    """What the stage draws at most, in the unit; None where nobody knows before the rows are tokenised."""

    @property
    def is_plain(self) -> bool:
        """One source without conditions: there is nothing to show."""
        (first, *others) = self.sources
        return not others and not first.capped and not first.turns and first.max_rows is None


def list_mixtures(recipe: Recipe | None) -> list[Mixture]:
    """Of every training stage those mixtures that have something to show."""
    found: list[Mixture] = []
    for number, stage in enumerate(recipe.stages if recipe else []):
        if not isinstance(stage, TrainingStage):
            continue
        name = f"Stage {number + 1}" + (f", {stage.name}" if stage.name else "")
        if isinstance(stage, RolloutStage):
            prompts = float(stage.steps * stage.prompts_per_step) if stage.steps else None
            found.append(Mixture(number, name, "prompts", stage.data, prompts))
        else:
            tokens = float(stage.steps * stage.batch_size * stage.sequence_length) if stage.steps else None
            found.append(Mixture(number, name, "tokens", stage.data, tokens))
        if isinstance(stage, InkGrpoStage) and stage.corpus:
            steps = stage.steps * stage.knowledge_rate if stage.steps else None
            tokens = steps * stage.knowledge_batch_size * stage.sequence_length if steps else None
            found.append(Mixture(number, f"{name}: text that is read", "tokens", stage.corpus, tokens))
    return [mixture for mixture in found if not mixture.is_plain]


@dataclass(frozen=True)
class Plan:
    """A mixture as it will be drawn, in numbers."""

    mixture: Mixture
    spans: list[Span]
    remarks: list[str]
    ends: float | None
    """Share of the stage after which nothing is left to draw; None where there is enough."""

    @property
    def overall(self) -> list[float]:
        """Share of each source in all that is drawn."""
        return overall_shares(self.spans, len(self.mixture.sources))


def plan_mixtures(recipe: Recipe | None, project: Project) -> list[Plan]:
    """The mixtures of a recipe as they will be drawn."""
    return [plan_mixture(mixture, project) for mixture in list_mixtures(recipe)]


def plan_mixture(mixture: Mixture, project: Project) -> Plan:
    spans, remarks = plan_spans(mixture, project)
    empty = next((span.start for span in spans if not any(span.shares)), None)
    if empty is not None:
        remarks.insert(
            0,
            f"From {percent(empty)} on nothing is left to draw, since all sources have reached their caps: the "
            "run would be refused. Raise a cap or lower steps.",
        )
    return Plan(mixture, spans, remarks, empty)


def plan_pictures(recipe: Recipe | None, project: Project) -> list[Picture]:
    """The same as pictures."""
    return [draw_plan(plan) for plan in plan_mixtures(recipe, project)]


def draw_plan(plan: Plan) -> Picture:
    mixture = plan.mixture
    return draw_picture(
        mixture.title,
        mixture.unit,
        plan.spans,
        [source.dataset for source in mixture.sources],
        notes=[describe_source(source) for source in mixture.sources],
        remarks=plan.remarks,
    )


def plan_spans(mixture: Mixture, project: Project) -> tuple[list[Span], list[str]]:
    """The parts of the stage, and sentences on what the plan cannot know."""
    limits, unknown = [], []
    for source in mixture.sources:
        size: float | None = None
        if mixture.unit == "prompts" and source.max_passes is not None:
            version = _find(project, source.dataset)
            size = min(version.rows, source.max_rows or version.rows) if version else None
        limits.append(limit_of(source, size))
        if source.max_passes is not None and size is None:
            unknown.append(source.dataset)
    remarks = []
    if mixture.total is None and any(source.capped for source in mixture.sources):
        remarks.append(
            "The stage is given in epochs, so its length is known once rows are tokenised: caps are not drawn."
        )
    elif unknown:
        names = ", ".join(unknown)
        remarks.append(
            f"How many tokens a pass over {names} has is known once its rows are tokenised: max_passes is not drawn."
        )
    if mixture.total is not None and mixture.unit == "tokens" and any(source.max_tokens for source in mixture.sources):
        remarks.append(
            "Caps are drawn as if every sequence were full; they are reached a little later where it is not."
        )
    return plan_shares(mixture.sources, total=mixture.total, limits=limits), remarks


def draw_picture(
    title: str,
    unit: str,
    spans: Sequence[Span],
    names: Sequence[str],
    *,
    notes: Sequence[str] = (),
    remarks: Sequence[str] = (),
    amounts: Sequence[float] = (),
    planned: Sequence[float] = (),
    ticks: Sequence[tuple[float, str]] = (),
) -> Picture:
    """Bands stacked from below in the order of the sources. `ticks` are places from 0 to 1 with their words."""
    overall = overall_shares(spans, len(names))
    shown = spans if 1 < len(spans) <= MOST_COLUMNS else []
    lines = [
        SourceLine(
            number=place + 1,
            style=place % LINE_STYLES + 1,
            name=name,
            note=notes[place] if notes else "",
            overall=overall[place],
            shares=[span.shares[place] for span in shown],
            amount=amounts[place] if amounts else None,
            planned=planned[place] if planned else None,
        )
        for place, name in enumerate(names)
    ]
    places = ticks or [(quarter / 4, percent(quarter / 4)) for quarter in range(5)]
    return Picture(
        title=title,
        unit=unit,
        bands=[_draw_band(spans, place) for place in range(len(names))],
        lines=lines,
        columns=[f"{percent(span.start)} to {percent(span.stop)}" for span in shown],
        ticks=[(_x(place), label) for place, label in places],
        remarks=list(remarks),
        drawn=bool(amounts),
    )


def overall_shares(spans: Sequence[Span], count: int) -> list[float]:
    """Share of each source in all that is drawn; 0 where nothing is."""
    sums = [sum((span.stop - span.start) * span.shares[place] for span in spans) for place in range(count)]
    whole = sum(sums)
    return [one / whole if whole else 0.0 for one in sums]


def describe_source(source: MixtureSource) -> str:
    """What the recipe says of a source beside its name."""
    parts = [f"weight {source.weight:g}"]
    if source.enters:
        parts.append(f"enters at {percent(source.enters)}")
    parts += [f"weight {change.weight:g} from {percent(change.at)}" for change in source.changes]
    words: list[tuple[float | None, Callable[[float], str]]] = [
        (source.max_rows, lambda value: f"at most {value:,.0f} different rows"),
        (source.max_tokens, lambda value: f"at most {value:,.0f} tokens"),
        (source.max_passes, lambda value: f"at most {value:g} passes"),
    ]
    return ", ".join(parts + [word(value) for value, word in words if value is not None])


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _draw_band(spans: Sequence[Span], place: int) -> Band:
    """A stepped area between the sources below and the source itself."""
    upper, lower = [], []
    edges = []
    for span in spans:
        low = sum(span.shares[:place])
        high = low + span.shares[place]
        edges.append((span.start, span.stop, low, high))
        upper.append(f"L{_x(span.start):.1f} {_y(high):.1f}L{_x(span.stop):.1f} {_y(high):.1f}")
        lower.append(f"L{_x(span.stop):.1f} {_y(low):.1f}L{_x(span.start):.1f} {_y(low):.1f}")
    outline = "".join(upper) + "".join(reversed(lower))
    return Band(place + 1, place % LINE_STYLES + 1, f"M{outline[1:]}Z" if outline else "", _find_room(edges))


def _find_room(edges: Sequence[tuple[float, float, float, float]]) -> tuple[float, float] | None:
    """The middle of the largest rectangle within a band that runs from `start` to `stop`, `low` to `high`."""
    best, found = 0.0, None
    for first in range(len(edges)):
        low, high = 0.0, 1.0
        start = edges[first][0]
        for _, stop, under, over in edges[first:]:
            low, high = max(low, under), min(high, over)
            height, width = high - low, stop - start
            if height < LEAST_LABELLED[0]:
                break
            if width >= LEAST_LABELLED[1] and height * width > best:
                best, found = height * width, (_x((start + stop) / 2), _y((low + high) / 2) + 4)
    return found


def _x(progress: float) -> float:
    return LEFT + (RIGHT - LEFT) * progress


def _y(share: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * share


def _find(project: Project, name: str) -> DatasetVersion | None:
    try:
        return find_version(project, name)
    except DatasetVersion.DoesNotExist:
        return None
