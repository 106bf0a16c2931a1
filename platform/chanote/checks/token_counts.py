"""How many tokens a version has, as far as the check of lengths has measured it: told as what it is, an estimate."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Max

from chanote.checks.models import CheckResult
from chanote.datasets.models import DatasetVersion

LENGTHS = "lengths"


@dataclass(frozen=True)
class TokenCount:
    tokens: float
    """Characters of each language by the tokens that a character of it took in the rows that were cut."""
    tokenizer: str
    """A model whose tokenizer it is, and how many more have the same."""
    rows: int
    cut: int
    """Rows that were cut into tokens."""

    @property
    def words(self) -> str:
        """Three figures, such as "about 24.6 million": the estimate holds no more."""
        for unit, name in ((1e9, "billion"), (1e6, "million")):
            if self.tokens >= 0.9995 * unit:
                return f"about {self.tokens / unit:.3g} {name}"
        return f"about {float(f'{self.tokens:.3g}'):,.0f}"

    @property
    def how(self) -> str:
        """For a title: what was measured."""
        return (
            f"By the tokenizer of {self.tokenizer}, estimated by language from {self.cut:,} of {self.rows:,} rows that "
            "the check of length and tokens has cut."
        )


@dataclass(frozen=True)
class LanguageLine:
    language: str
    rows: int
    mean: float
    median: int
    p95: int
    per_character: list[float]
    """Tokens for a character, by tokenizer."""
    tokens: list[float]


@dataclass(frozen=True)
class LengthTable:
    """The newest result of the check, by language."""

    tokenizers: list[str]
    lines: list[LanguageLine]
    result: CheckResult


def read_count(counts: Mapping[str, Any]) -> TokenCount | None:
    """The count by the first tokenizer; None where the project had none, or nothing was cut."""
    tokenizers, languages = counts.get("tokenizers") or [], counts.get("languages") or []
    measured = [one for one in languages if one["fertility"]]
    if not tokenizers or not measured:
        return None
    # A language of which no row was cut takes as many tokens as the others do.
    characters = sum(one["rows"] * one["mean"] for one in measured)
    tokens = sum(_estimate(one, 0) for one in measured)
    rest = sum(one["rows"] * one["mean"] for one in languages if not one["fertility"])
    tokens += rest * tokens / characters if characters else 0
    return TokenCount(
        tokens, spell_models(tokenizers[0]), sum(one["rows"] for one in languages), sum(one["cut"] for one in measured)
    )


def spell_models(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _estimate(language: Mapping[str, Any], place: int) -> float:
    return float(language["rows"] * language["mean"] * language["fertility"][place]["tokens_per_character"])


def find_token_counts(versions: Iterable[DatasetVersion]) -> dict[str, TokenCount]:
    """Hash of the rows → their tokens, where they were counted; in one query."""
    results = CheckResult.objects.filter(version__in=list(versions), check_name=LENGTHS)
    newest = results.filter(pk__in=results.values("version").annotate(last=Max("pk")).values("last"))
    found = {}
    for sha256, counts in newest.values_list("version__sha256", "counts"):
        if count := read_count(counts):
            found[sha256] = count
    return found


def read_length_table(version: DatasetVersion) -> LengthTable | None:
    result = CheckResult.objects.filter(version=version, check_name=LENGTHS).order_by("-created", "-id").first()
    if result is None:
        return None
    tokenizers = [spell_models(names) for names in result.counts.get("tokenizers") or []]
    lines = [
        LanguageLine(
            language=one["language"],
            rows=one["rows"],
            mean=one["mean"],
            median=one["median"],
            p95=one["p95"],
            per_character=[each["tokens_per_character"] for each in one["fertility"]],
            tokens=[_estimate(one, place) for place in range(len(one["fertility"]))],
        )
        for one in result.counts.get("languages") or []
    ]
    return LengthTable(tokenizers, lines, result)
