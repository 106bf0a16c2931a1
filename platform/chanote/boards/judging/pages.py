"""What the templates of judging show: numbers already worded."""

from dataclasses import dataclass

from chanote.boards.judging.battles import Lengths
from chanote.boards.judging.calibration import Calibration, Correction
from chanote.boards.judging.describe import name_kappa, word_calibration
from chanote.boards.judging.judges import JudgeFacts, JudgePair
from chanote.boards.statistics.agreement_interval import Bounded
from chanote.boards.statistics.wording import word_number
from chanote.boards.table import Entry, Table


@dataclass(frozen=True)
class CorrectedRow:
    entry: Entry
    raw: str
    raw_interval: str
    corrected: str
    corrected_interval: str
    method: str
    labelled: int


@dataclass(frozen=True)
class AgreementRow:
    who: str
    measure: str
    kappa: str
    """Four digits, to be held against what others publish."""
    interval: str
    observed: str
    answers: int


@dataclass(frozen=True)
class JudgedPage:
    found: Calibration
    sentence: str
    state: str
    rows: tuple[CorrectedRow, ...]
    agreement: tuple[AgreementRow, ...]

    @property
    def is_calibrated(self) -> bool:
        return self.found.is_calibrated


def lay_out_judged(table: Table, found: Calibration | None) -> JudgedPage | None:
    if found is None:
        return None
    return JudgedPage(
        found=found,
        sentence=word_calibration(found),
        state="calibrated" if found.is_calibrated else "uncalibrated",
        rows=tuple(
            _lay_out_correction(entry, found.corrections[entry.evaluation.pk])
            for entry in table.entries
            if entry.evaluation.pk in found.corrections
        ),
        agreement=tuple(
            _lay_out_agreement(who, measure, one)
            for who, measure, one in (
                (f"{found.judging.who} with people", name_kappa(found), found.judge),
                ("people with each other", "Fleiss' kappa", found.people),
            )
            if one is not None
        ),
    )


def _lay_out_correction(entry: Entry, one: Correction) -> CorrectedRow:
    raw = entry.estimate
    return CorrectedRow(
        entry=entry,
        raw=_word(raw.mean, raw.error),
        raw_interval=_word_interval(raw.low, raw.high, raw.error),
        corrected=_word(one.value, one.error),
        corrected_interval=_word_interval(one.low, one.high, one.error),
        method=one.method,
        labelled=one.labelled,
    )


def _word(value: float | None, error: float | None) -> str:
    return "" if value is None else word_number(value, error, scale=100.0)


def _word_interval(low: float | None, high: float | None, error: float | None) -> str:
    if low is None or high is None:
        return ""
    return "\u2013".join(word_number(bound, error, scale=100.0) for bound in (low, high))


def _lay_out_agreement(who: str, measure: str, one: Bounded) -> AgreementRow:
    kappa = one.found.kappa
    return AgreementRow(
        who=who,
        measure=measure,
        kappa="not defined" if kappa is None else _minus(f"{kappa:.4f}"),
        interval="" if one.low is None or one.high is None else _minus(f"{one.low:.2f} to {one.high:.2f}"),
        observed=f"{one.found.observed:.4f}",
        answers=one.found.count,
    )


def lay_out_pair_of_judges(one: JudgePair, measure: str) -> AgreementRow:
    return _lay_out_agreement(f"{one.a} with {one.b}", measure, one.agreement)


@dataclass(frozen=True)
class JudgeRow:
    judge: str
    judged: int
    failed: int
    mean: str
    ties: str
    consistent: str
    leans: str


def lay_out_judge(one: JudgeFacts) -> JudgeRow:
    consistent = leans = ""
    if one.positions is not None and one.consistent is not None:
        low, high = one.consistent
        share = one.positions.same / one.positions.pairs
        consistent = f"{share * 100:.0f} ({low * 100:.0f}\u2013{high * 100:.0f})"
        leans = f"{one.positions.first:,} to the first, {one.positions.second:,} to the second"
    return JudgeRow(
        judge=one.judge,
        judged=one.judged,
        failed=one.failed,
        mean="" if one.mean is None else f"{one.mean * 100:.1f}",
        ties="" if one.ties is None else f"{one.ties * 100:.0f}",
        consistent=consistent,
        leans=leans,
    )


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")


@dataclass(frozen=True)
class LengthRow:
    name: str
    raw: str
    controlled: str
    interval: str
    effect: str
    longer: str
    fault: str


def lay_out_lengths(name: str, one: Lengths) -> LengthRow:
    if one.found is None:
        return LengthRow(name, "", "", "", "", "", one.fault)
    found = one.found
    error = (found.high - found.low) / 4
    return LengthRow(
        name=name,
        raw=_word(found.win_rate, error),
        controlled=_word(found.controlled, error),
        interval=_word_interval(found.low, found.high, error),
        effect=_minus(f"{found.length_effect:+.2f}"),
        longer="" if one.longer is None else f"{one.longer:.2f}",
        fault="",
    )
