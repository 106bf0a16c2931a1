"""What the templates of the datasets show, already worded."""

from dataclasses import dataclass
from typing import Any

from django.forms import Form

from chanote.datasets.errors import ImportRefused
from chanote.datasets.models import DatasetVersion, Use

WORDS = {Use.TRAIN: "Train", Use.DISTIL: "Distil", Use.EVALUATE: "Evaluate", Use.PUBLISH: "Publish rows"}
MOST_SHARES = 5


@dataclass(frozen=True)
class UseChip:
    word: str
    allowed: bool


@dataclass(frozen=True)
class Share:
    name: str
    percent: str
    x: float
    width: float
    series: int


def list_uses(version: DatasetVersion) -> list[UseChip]:
    return [UseChip(word, use in version.uses) for use, word in WORDS.items()]


def list_shares(statistics: dict[str, Any]) -> list[Share]:
    """Scripts by their share of letters, the rare ones together, as parts of a bar 100 wide."""
    shares = list(statistics.get("scripts", {}).items())
    if len(shares) > MOST_SHARES:
        rest = sum(share for _, share in shares[MOST_SHARES - 1 :])
        shares = [*shares[: MOST_SHARES - 1], ("others", rest)]
    parts, position = [], 0.0
    for number, (name, share) in enumerate(shares, start=1):
        width = share * 100
        parts.append(Share(name, spell_percent(share), round(position, 2), round(max(width - 0.3, 0.2), 2), number))
        position += width
    return parts


def spell_percent(share: float) -> str:
    """Never rounded to nothing or to all when it is not."""
    percent = share * 100
    if percent == 100:
        return "100 %"
    if percent < 0.1:
        return "under 0.1 %"
    return "over 99.9 %" if percent > 99.9 else f"{percent:.1f} %"


def tell_failure(form: Form, refusal: ImportRefused) -> None:
    """Put each problem of a refused import beside the field it is about; those of rows stand in their own table."""
    for problem in refusal.problems:
        if problem.field.startswith("rows["):
            continue
        field = problem.field.replace("columns.", "column_")
        form.add_error(field if field in form.fields else None, problem.message)
    if refusal.bad_rows:
        form.add_error(None, str(refusal))
