"""What the templates of the boards show: numbers already worded, coordinates already placed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from chanote.boards.episodes import AgentCells, RewardCell, lay_out_agent, lay_out_rewards
from chanote.boards.selectors import BoardContent, TaskEstimates
from chanote.boards.statistics import Comparison, Estimate, Verdict
from chanote.boards.statistics.wording import PERCENT_95, decimals_for, word_number, word_p, word_verdict
from chanote.boards.table import Entry, Table, Unit, split_letters, unit_of
from chanote.boards.whiskers import Axis, Whisker, make_axis

LETTER_COLUMNS = 10
"""Beyond so many, a model shows its own letters only instead of lining them up in columns."""
OTHERS = 2
"""Other tasks beside the chosen one; more do not fit on a screen 1280 pixels wide."""


@dataclass(frozen=True)
class Claim:
    """A verdict in a word, with its icon and look."""

    word: str
    icon: str
    look: str


CLAIMS = {
    Verdict.A_BETTER: Claim("better", "up", "ok"),
    Verdict.B_BETTER: Claim("worse", "down", "failed"),
    Verdict.EQUIVALENT: Claim("equivalent", "check", "draft"),
    Verdict.UNDECIDED: Claim("undecided", "info", "draft"),
    Verdict.UNDEFINED: Claim("not compared", "info", "draft"),
}


@dataclass(frozen=True)
class Number:
    """An estimate in words."""

    value: str
    interval: str
    """Such as `81–87`; empty when not defined."""


@dataclass(frozen=True)
class Row:
    entry: Entry
    rank: str
    letters: tuple[tuple[str, bool], ...]
    """Letters in their columns and whether the model has them; of many columns only those that it has."""
    number: Number
    whisker: Whisker | None
    delta: str
    claim: Claim | None
    """Against the baseline; None for the baseline itself and where there is none."""
    is_baseline: bool
    failed: str
    others: tuple[Number | None, ...]
    """Estimates on the other tasks of the board."""
    agent: AgentCells | None
    """None for tasks without tools."""
    named_rewards: tuple[tuple[str, RewardCell | None], ...]


@dataclass(frozen=True)
class PairRow:
    name: str
    comparison: Comparison
    delta: str
    whisker: Whisker | None
    claim: Claim


@dataclass(frozen=True)
class BoardPage:
    table: Table
    unit: Unit
    rows: tuple[Row, ...]
    axis: Axis
    base_x: float | None
    headline: list[str]
    others: tuple[TaskEstimates, ...]
    is_agent: bool
    rewards: tuple[str, ...]
    """Names of what is measured of an agent's episodes, where that is more than the metric."""
    pairs: tuple[PairRow, ...]
    """Every other model against the baseline."""
    pair_axis: Axis
    zero_x: float


def lay_out_board(content: BoardContent, reference: str) -> BoardPage:
    """The page of one task of the board."""
    table = content.tables[reference]
    unit = unit_of(table.task)
    bounds = [
        None if value is None else value * unit.scale
        for entry in table.entries
        for value in (entry.estimate.mean, entry.estimate.low, entry.estimate.high)
    ]
    axis = make_axis(bounds)
    evaluations = [entry.evaluation for entry in table.entries]
    is_agent = any(one.episodes for one in evaluations)
    named = [] if is_agent else [name for name in content.tables if name != reference]  # its cost needs their room
    others = tuple(content.tables.find_estimates(named[:OTHERS]))
    columns = table.letter_columns
    names, cells = lay_out_rewards(evaluations)
    rows = tuple(
        _lay_out_row(
            entry,
            table,
            unit,
            axis,
            columns,
            content.baseline,
            others,
            list(zip(names, cells[entry.evaluation.pk], strict=True)),
        )
        for entry in table.entries
    )
    base = next((row for row in rows if row.is_baseline), None)
    pairs, pair_axis = _lay_out_pairs(table, unit, content.baseline)
    return BoardPage(
        table=table,
        unit=unit,
        rows=rows,
        axis=axis,
        base_x=base.whisker.middle if base and base.whisker else None,
        headline=content.headline(reference),
        others=others,
        is_agent=is_agent,
        rewards=tuple(names) if len(names) > 1 else (),
        pairs=pairs,
        pair_axis=pair_axis,
        zero_x=pair_axis.place(0.0),
    )


def _lay_out_row(
    entry: Entry,
    table: Table,
    unit: Unit,
    axis: Axis,
    columns: list[str],
    baseline: str,
    others: tuple[TaskEstimates, ...],
    rewards: list[tuple[str, RewardCell | None]],
) -> Row:
    estimate = entry.estimate
    number = word_estimate(estimate, unit)
    held = set(split_letters(entry.letters))
    aligned = len(columns) <= LETTER_COLUMNS
    against = table.find(entry.name, baseline) if baseline and entry.name != baseline else None
    scaled = [None if value is None else value * unit.scale for value in (estimate.mean, estimate.low, estimate.high)]
    middle, low, high = scaled
    label = f"{number.value}, 95 % interval {number.interval}" if number.interval else f"{number.value}, no interval"
    return Row(
        entry=entry,
        rank="" if entry.rank is None else _word_range(str(entry.rank[0]), str(entry.rank[1])),
        letters=tuple((letter, letter in held) for letter in columns) if aligned else shorten_letters(columns, held),
        number=number,
        whisker=None if middle is None else axis.draw(middle, low, high, label),
        delta="" if against is None or against.delta is None else _word_delta(against, unit),
        claim=None if against is None else CLAIMS[against.verdict],
        is_baseline=bool(baseline) and entry.name == baseline,
        failed=word_share(entry.failed_share, entry.evaluation.count),
        others=tuple(
            word_estimate(other.estimates[entry.name], unit_of(other.task)) if entry.name in other.estimates else None
            for other in others
        ),
        agent=lay_out_agent(entry.evaluation),
        named_rewards=tuple(rewards),
    )


def shorten_letters(columns: Sequence[str], held: Collection[str]) -> tuple[tuple[str, bool], ...]:
    """The letters that a model has, three or more in a row as `a–g`: twenty side by side leave no room for the rest."""
    runs: list[list[str]] = []
    before = False
    for letter in columns:
        if letter in held:
            if before:
                runs[-1].append(letter)
            else:
                runs.append([letter])
        before = letter in held
    words = [[f"{run[0]}\u2013{run[-1]}"] if len(run) > 2 else run for run in runs]
    return tuple((word, True) for run in words for word in run)


def word_estimate(estimate: Estimate, unit: Unit) -> Number:
    """Mean and interval with no more digits than the error supports."""
    if estimate.mean is None:
        return Number("none", "")
    error = estimate.error or _half_width(estimate)
    value = word_number(estimate.mean, error, scale=unit.scale)
    if estimate.low is None or estimate.high is None:
        return Number(value, "")
    low, high = (word_number(bound, error, scale=unit.scale) for bound in (estimate.low, estimate.high))
    return Number(value, f"{low}\u2013{high}" if "\u2212" not in low + high else f"{low} to {high}")


def _half_width(estimate: Estimate) -> float | None:
    """Where every item scored alike the standard error is 0; the interval still tells how exact the mean is."""
    return None if estimate.low is None or estimate.high is None else (estimate.high - estimate.low) / 4


def word_share(share: float, count: int) -> str:
    """A share of items in per cent; never rounded to none or all when it is not."""
    if share in (0.0, 1.0) or not count:
        return f"{share * 100:.0f}"
    places = min(decimals_for(100 / count), 2)
    return f"{share * 100:.{max(places, 0)}f}"


def _lay_out_pairs(table: Table, unit: Unit, baseline: str) -> tuple[tuple[PairRow, ...], Axis]:
    found = [(entry.name, table.find(entry.name, baseline)) for entry in table.entries if entry.name != baseline]
    against = [(name, one) for name, one in found if one is not None and one.delta is not None] if baseline else []
    bounds = [
        None if value is None else value * unit.scale for _, one in against for value in (one.delta, one.low, one.high)
    ]
    axis = make_axis(bounds, width=320, include=[0.0])
    rows = tuple(
        PairRow(name, one, _word_delta(one, unit), draw_difference(one, unit, axis), CLAIMS[one.verdict])
        for name, one in against
    )
    return rows, axis


def _word_delta(one: Comparison, unit: Unit) -> str:
    return word_number(one.delta or 0.0, one.error, scale=unit.scale, sign=True)


def _word_range(low: str, high: str) -> str:
    return low if low == high else f"{low}\u2013{high}"


def draw_difference(one: Comparison, unit: Unit, axis: Axis) -> Whisker | None:
    if one.delta is None:
        return None
    low, high = (None if value is None else value * unit.scale for value in (one.low, one.high))
    return axis.draw(one.delta * unit.scale, low, high, word_interval(one, unit))


def word_interval(one: Comparison, unit: Unit) -> str:
    """`+3 points, 95 % interval −1 to +7`."""
    if one.delta is None:
        return "not defined"
    size = f"{_word_delta(one, unit)} {unit.name}"
    if one.low is None or one.high is None:
        return f"{size}, interval not bounded by so few items"
    low, high = (word_number(value, one.error, scale=unit.scale, sign=True) for value in (one.low, one.high))
    return f"{size}, {PERCENT_95} interval {low} to {high}"


def _word_chance(chance: float) -> str:
    """No more certain than a posterior of so few items is."""
    return "over 99 %" if chance > 0.99 else "under 1 %" if chance < 0.01 else f"{100 * chance:.0f} %"


@dataclass(frozen=True)
class PairPage:
    sentence: str
    claim: Claim
    axis: Axis
    zero_x: float
    whisker: Whisker | None
    facts: tuple[tuple[str, str], ...]


def lay_out_pair(one: Comparison, a: str, b: str, unit: Unit) -> PairPage:
    bounds = [None if value is None else value * unit.scale for value in (one.delta, one.low, one.high)]
    margin = one.margin * unit.scale
    axis = make_axis(bounds, width=320, include=[-margin, 0.0, margin])
    facts = [("Difference", word_interval(one, unit))]
    if one.p is not None and one.p_adjusted is not None:
        corrected = f"; {word_p(one.p_adjusted)} after Holm, {one.family} comparisons" if one.family > 1 else ""
        facts.append(("Test", f"{one.method}: {word_p(one.p)}{corrected}"))
    if one.chance is not None:
        facts.append(
            ("Chance", f"{_word_chance(one.chance)} that {a} is better, by these items alone and a flat prior")
        )
    if one.detectable is not None:
        size = word_number(one.detectable, one.error, scale=unit.scale)
        facts.append(("Detectable", f"{size} {unit.name} or more, with 80 % power"))
    facts.append(("Margin", f"\u00b1{margin:g} {unit.name} count as equivalent"))
    units = "" if one.clusters == one.count else f" in {one.clusters:,} clusters"
    facts.append(("Items", f"{one.count:,} in common{units}"))
    treated = "counted as wrong" if one.higher_is_better else "left out"
    if one.failed_a or one.failed_b:
        facts.append(("Failed answers", f"{one.failed_a:,} and {one.failed_b:,}, {treated}"))
    return PairPage(
        sentence=word_verdict(one, a, b, unit=unit.name, scale=unit.scale),
        claim=CLAIMS[one.verdict],
        axis=axis,
        zero_x=axis.place(0.0),
        whisker=draw_difference(one, unit, axis),
        facts=tuple(facts),
    )
