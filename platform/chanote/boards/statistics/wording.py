"""The sentence that a verdict allows, and numbers with no more digits than their error supports."""

import math

from chanote.boards.statistics.comparison import Comparison, Verdict

PERCENT_95 = "95\u00a0%"
ONE_RUN_EACH = "One training run each: differences concern these checkpoints, not the recipes."


def decimals_for(error: float | None, *, most: int = 4) -> int:
    """Decimals up to the first significant digit of the standard error; 1 when the error is not known."""
    if error is None or not math.isfinite(error) or error <= 0:
        return 1
    return min(most, max(0, -math.floor(math.log10(error))))


def word_number(value: float, error: float | None, *, scale: float = 1.0, sign: bool = False) -> str:
    """A number times `scale`, rounded to what its error supports, with a true minus sign."""
    places = decimals_for(None if error is None else error * scale)
    text = f"{value * scale:{'+' if sign else ''},.{places}f}"
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", "\u2212")


def word_p(p: float) -> str:
    """p with two or three decimals; a small one only as a bound."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def word_count(count: int) -> str:
    """A number of items to two significant digits: a forecast is not more exact."""
    if count < 100:
        return str(count)
    step = 10 ** (len(str(count)) - 2)
    return f"{math.ceil(count / step) * step:,}"


def word_verdict(one: Comparison, a: str, b: str, *, unit: str = "points", scale: float = 100.0) -> str:
    """One sentence about a pair. `scale` turns score units into `unit`: 100 for shares in points."""
    if one.verdict is Verdict.UNDEFINED or one.delta is None:
        return f"{a} and {b} are not compared: they share fewer than two independent items."
    if one.withheld is not None:
        failed = one.failed_a + one.failed_b
        answers = "failed answer is" if failed == 1 else "failed answers are"
        return f"No verdict on {a} and {b}: it changes with how the {failed:,} {answers} counted."
    rest = ""
    if one.answered is not None:
        rest = " Items that both answered do not decide it: it rests on answers that failed."
    margin = f"{one.margin * scale:g} {unit}"
    if one.verdict in (Verdict.A_BETTER, Verdict.B_BETTER):
        better, worse = (a, b) if one.verdict is Verdict.A_BETTER else (b, a)
        # Told as a lead: positive whichever way the models stand and whether more or less is better.
        lead = one if one.delta > 0 else one.turned()
        size = word_number(abs(one.delta), one.error, scale=scale)
        small = f", less than the margin of {margin}" if abs(one.delta) < one.margin else ""
        facts = _word_facts(lead, scale, sign=False)
        return f"{better} is better than {worse} by {size} {unit}{small} ({facts}).{rest}"
    facts = f"\u0394 {word_number(one.delta, one.error, scale=scale, sign=True)}, {_word_facts(one, scale, sign=True)}"
    if one.verdict is Verdict.EQUIVALENT:
        return f"{a} and {b} are equivalent within \u00b1{margin} ({facts}).{rest}"
    need = ""
    if one.needed is not None and one.needed > one.count:
        target = margin if one.target == one.margin else f"{word_number(one.target, one.error, scale=scale)} {unit}"
        need = f"; about {word_count(one.needed)} items would be needed to find a difference of {target}"
    return f"Undecided: {one.count:,} items do not separate {a} and {b} ({facts}){need}."


def _word_facts(one: Comparison, scale: float, *, sign: bool) -> str:
    assert one.p_adjusted is not None
    parts = []
    if one.low is not None and one.high is not None:
        low, high = (word_number(value, one.error, scale=scale, sign=sign) for value in (one.low, one.high))
        parts.append(f"{PERCENT_95} interval {low} to {high}")
    parts.append(("corrected " if one.family > 1 else "") + word_p(one.p_adjusted))
    return ", ".join(parts)
