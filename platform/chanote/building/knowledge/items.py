"""What evaluation sets ask, and what their items rest on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chanote.accounts.models import Project
from chanote.boards.models import Task
from chanote.checks.folding import fold_for_comparing
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version
from chanote.datasets.storage import open_rows

Row = Mapping[str, Any]
PASSAGES = ("context", "contexts", "passage", "passages", "source_text", "documents")
"""Fields in which evaluation sets keep the text that an answer rests on."""


@dataclass(frozen=True)
class Asked:
    """A text of an item."""

    item: int
    """Counted over all evaluation sets."""
    part: str
    """question, answer or source."""
    text: str


@dataclass
class EvaluationSet:
    reference: str
    items: range
    """Numbers of its items among those of all sets."""


@dataclass
class Evaluated:
    sets: list[EvaluationSet]
    cited: dict[tuple[str, str], list[int]]
    """Section of a law, both folded → items that rest on it."""
    laws: set[str]
    """Laws, folded, of those sections."""


def find_sets(project: Project, names: list[str], *, every_task: bool) -> list[DatasetVersion]:
    """The versions named, and with `every_task` those of the newest edition of each task of the project.

    Raises DatasetVersion.DoesNotExist with a sentence.
    """
    found = {version.pk: version for version in (find_version(project, name) for name in names)}
    if every_task:
        newest: dict[str, Task] = {}
        known = Task.objects.filter(project=project).select_related("dataset_version__dataset")
        for task in known:
            if task.dataset_version is None:
                continue  # known by imported results only: it has no rows here
            if task.slug not in newest or newest[task.slug].number < task.number:
                newest[task.slug] = task
        versions = [task.dataset_version for task in newest.values()]
        found |= {version.pk: version for version in versions if version is not None}
    return sorted(found.values(), key=lambda version: version.reference)


def read_items(version: DatasetVersion, first: int) -> Iterator[tuple[int, Row]]:
    """Items of a set, numbered from `first` on."""
    return enumerate(open_rows(version, 0, version.rows), first)


def gather(versions: list[DatasetVersion]) -> Evaluated:
    """The sets with their cited sections, in one pass."""
    found = Evaluated([], {}, set())
    start = 0
    for version in versions:
        found.sets.append(EvaluationSet(version.reference, range(start, start + version.rows)))
        for number, row in read_items(version, start):
            for law, section in list_cited(row):
                found.cited.setdefault((fold(law), fold(section)), []).append(number)
                found.laws.add(fold(law))
        start += version.rows
    return found


def list_asked(number: int, row: Row) -> Iterator[Asked]:
    """Texts of an item by what they are to it."""
    if isinstance(row.get("question"), str):
        yield Asked(number, "question", row["question"])
        if isinstance(row.get("answer"), str):
            yield Asked(number, "answer", row["answer"])
    messages = [one for one in row.get("messages") or [] if isinstance(one, dict)]
    for role, part in (("user", "question"), ("assistant", "answer")):
        texts = [one["content"] for one in messages if one.get("role") == role and isinstance(one.get("content"), str)]
        if texts:
            yield Asked(number, part, texts[-1])
    if isinstance(row.get("text"), str):
        # The likelihood of the text is the score: it is question and source in one.
        yield Asked(number, "question", row["text"])
    for field in PASSAGES:
        given = row.get(field)
        for passage in given if isinstance(given, list) else [given]:
            text = passage.get("text") if isinstance(passage, dict) else passage
            if isinstance(text, str) and text.strip():
                yield Asked(number, "source", text)


def list_cited(row: Row) -> Iterator[tuple[str, str]]:
    """Sections of law that an item rests on, as (law, section)."""
    for one in row.get("citations") or ():
        if isinstance(one, dict) and one.get("law") and one.get("section"):
            yield str(one["law"]), str(one["section"])
    if "text" not in row and row.get("law_name") and row.get("section_num"):
        yield str(row["law_name"]), str(row["section_num"])


def fold(text: Any) -> str:
    """One spelling of a name: its letters and digits, Thai digits as 0 to 9, no layout."""
    return "".join(map(chr, fold_for_comparing(str(text))))
