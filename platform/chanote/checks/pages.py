"""Results of checks as people read them."""

from dataclasses import dataclass
from typing import Any

from chanote.accounts.roles import may
from chanote.checks.base import Check
from chanote.checks.checkers import CHECKS
from chanote.checks.models import CheckResult
from chanote.checks.selectors import newest_results
from chanote.checks.services import find_errand
from chanote.datasets.models import DatasetVersion
from chanote.datasets.pages import spell_percent
from chanote.datasets.row_views import find_language


@dataclass(frozen=True)
class CheckLine:
    """One check in the table of a version."""

    check: type[Check]
    result: CheckResult | None
    state: str
    """For the tag `status`: passed, warn or draft."""
    word: str
    sentence: str
    outdated: bool = False
    """The checker has a newer version than the result."""


@dataclass(frozen=True)
class CodeLine:
    code: str
    words: str
    rows: int | None
    is_fact: bool
    samples: list[dict[str, Any]]


def read_tab(version: DatasetVersion, user: Any) -> dict[str, Any]:
    """Everything that `checks/_tab.html` shows, under the name `checks`."""
    results = newest_results(version)
    lines = [describe_check(check, results.get(name)) for name, check in CHECKS.items()]
    return {
        "version": version,
        "dataset": version.dataset,
        "project": version.project,
        "lines": lines,
        "open": sum(line.state == "warn" for line in lines),
        "done": len(results),
        "errand": find_errand(version),
        "may_run": may(user, "datasets.change", version.project),
    }


def count_open(version: DatasetVersion) -> int:
    """Checks whose newest result has findings, for the tab's count."""
    return sum(
        bool(result.found_rows or result.counts.get("items_dirty")) for result in newest_results(version).values()
    )


def describe_check(check: type[Check], result: CheckResult | None) -> CheckLine:
    if result is None:
        return CheckLine(check, None, "draft", "Not run", check.about)
    outdated = result.check_version != check.version
    found = result.found_rows
    sentence = SENTENCES.get(check.name, _say_rows)(result)
    if not found:
        return CheckLine(check, result, "finished", "Nothing found", sentence, outdated)
    return CheckLine(check, result, "warn", count_rows(found), sentence, outdated)


def describe_codes(result: CheckResult) -> list[CodeLine]:
    """What was found, code by code, those that are findings first."""
    check = CHECKS[result.check_name]
    lines = []
    for code, words in check.finds.items():
        samples = [
            {**sample, "language": find_language(sample["text"])} for sample in result.samples if sample["code"] == code
        ]
        rows = count_code(result, code)
        if rows or samples:
            lines.append(CodeLine(code, words, rows, code in check.facts, samples))
    return sorted(lines, key=lambda line: line.is_fact)


def count_code(result: CheckResult, code: str) -> int | None:
    """Rows with a code, as the check counted them; None where it counts otherwise."""
    counts = result.counts
    if result.check_name == "languages" and code in counts.get("languages", {}):
        return int(counts["languages"][code])
    if code == "repeated":
        return int(counts.get("clusters", 0))
    found = counts.get(f"rows_{code}", counts.get(code))
    return int(found) if isinstance(found, int) else None


def _say_rows(result: CheckResult) -> str:
    told = [
        f"{count_rows(line.rows)}: {line.words}" for line in describe_codes(result) if line.rows and not line.is_fact
    ]
    return "; ".join(told) if told else f"{result.rows:,} rows were looked at."


def _say_schema(result: CheckResult) -> str:
    return _say_rows(result) if result.found_rows else f"All {result.rows:,} rows fit their kind."


def _say_languages(result: CheckResult) -> str:
    shares = result.counts.get("shares", {})
    told = ", ".join(f"{name} {spell_percent(share)}" for name, share in shares.items() if share)
    sentences = [f"Letters: {told or 'none'}."]
    for code, words in (
        ("mixed", "switching between two scripts"),
        ("unexpected", "in another language than the row or its dataset says"),
        ("wordless", "without letters"),
    ):
        if count := result.counts.get(code, 0):
            sentences.append(f"{count_rows(count)} {words}.")
    return " ".join(sentences)


def _say_personal(result: CheckResult) -> str:
    told = [f"{line.words} in {count_rows(line.rows or 0)}" for line in describe_codes(result)]
    return f"{', '.join(told).capitalize()}." if told else f"{result.rows:,} rows were looked at."


def count_rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _say_duplicates(result: CheckResult) -> str:
    counts = result.counts
    clusters = counts["clusters"]
    return (
        f"{counts['exact']:,} exact and {counts['near']:,} near copies in {clusters:,} "
        f"cluster{'' if clusters == 1 else 's'}."
    )


def _say_overlap(result: CheckResult) -> str:
    counts = result.counts
    if not counts["tasks"]:
        return "The project has no task that asks another dataset."
    told = (
        f"{counts['items_dirty']:,} of {counts['items']:,} items of {counts['tasks']:,} "
        f"task{'' if counts['tasks'] == 1 else 's'} stand in the rows."
    )
    if counts["items_source"]:
        told += f" The law or passage of {counts['items_source']:,} items does too, which is no fault."
    if counts["items_unknown"]:
        told += f" {counts['items_unknown']:,} items are too short to tell."
    return told


def _say_lengths(result: CheckResult) -> str:
    told = []
    for one in result.counts["languages"][:3]:
        fertility = one["fertility"]
        tokens = f", {fertility[0]['tokens_per_character']:.2f} tokens a character" if fertility else ""
        told.append(f"{one['language']}: {one['mean']:,.0f} characters{tokens}")
    return "; ".join(told) + "."


def _say_licences(result: CheckResult) -> str:
    if result.samples:
        return " ".join(sample["text"] for sample in result.samples[:2])
    licences = result.counts["licences"]
    return f"{licences:,} licence{'' if licences == 1 else 's'}, which can all be kept."


SENTENCES = {
    "schema": _say_schema,
    "languages": _say_languages,
    "personal": _say_personal,
    "duplicates": _say_duplicates,
    "overlap": _say_overlap,
    "lengths": _say_lengths,
    "licences": _say_licences,
}
