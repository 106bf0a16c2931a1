"""The sentences at the head of a board: who leads, how surely, and what the baseline says."""

from chanote.boards.statistics import Verdict
from chanote.boards.statistics.wording import word_verdict
from chanote.boards.table import Entry, Table, unit_of

NAMED = 3
"""Models named one by one before "and so many more"."""


def write_headline(table: Table, baseline: str = "") -> list[str]:
    """One to three sentences; each follows from the verdicts of the table and claims no more than they do."""
    compared = [entry for entry in table.entries if not entry.not_compared]
    if not table.entries:
        return ["No model has been scored yet."]
    if len(compared) < 2:
        return [f"Only {table.entries[0].name} has been scored: there is nothing to compare it with."]
    top, *others = compared
    level = [entry for entry in others if _verdict(table, top, entry) is not Verdict.A_BETTER]
    second = level[0] if level else others[0]
    sentences = []
    if not level and len(others) > 1:
        sentences.append(f"{top.name} is better than each of the {len(others)} other models shown.")
    elif len(level) > 1:
        sentences.append(f"{top.name} leads, but is not separated from {_list(level)}.")
    sentences.append(_compare(table, top.name, second.name))
    if baseline and baseline not in (top.name, second.name) and table.find(top.name, baseline) is not None:
        sentences.append(f"Against the baseline: {_lower(_compare(table, top.name, baseline))}")
    return sentences


def _verdict(table: Table, a: Entry, b: Entry) -> Verdict:
    found = table.find(a.name, b.name)
    return Verdict.UNDEFINED if found is None else found.verdict


def _compare(table: Table, a: str, b: str) -> str:
    found = table.find(a, b)
    assert found is not None
    unit = unit_of(table.task)
    return word_verdict(found, a, b, unit=unit.name, scale=unit.scale)


def _list(entries: list[Entry]) -> str:
    names = [entry.name for entry in entries[:NAMED]]
    if len(entries) > NAMED:
        return f"{', '.join(names)} and {len(entries) - NAMED} more"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _lower(sentence: str) -> str:
    """A sentence after a colon: its own first word goes small, a model's name stays as it is."""
    for word in ("Undecided", "No verdict"):
        if sentence.startswith(word):
            return word[0].lower() + sentence[1:]
    return sentence
