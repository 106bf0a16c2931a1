"""What a check is: its name and version, what it looks for in a block of rows, what it concludes from all blocks.

A check is one file in `checkers/`. `look` is pure and runs in any process; `conclude` runs once, over the parts in the
order of the rows, and must keep little in memory.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy
from pydantic import BaseModel, ConfigDict

from chanote.checks.block import Block

FINDING = numpy.dtype([("row", "<u4"), ("code", "<u2"), ("value", "<i8")])
"""One finding: row from 0, place of its code in the check's `finds`, and a number that the code explains."""
SAMPLES = 5
"""Samples that are kept of each code."""
Array = numpy.ndarray[Any, Any]


class Settings(BaseModel):
    """What a project may set of a check."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass
class Part:
    """What a check found in one block. Rows are counted from the block's first."""

    rows: int
    counts: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, Any]] = field(default_factory=list)
    """`code`, `row` and `text` at least; texts are masked already."""
    found: list[tuple[int, int, int]] = field(default_factory=list)
    arrays: dict[str, Array] = field(default_factory=dict)
    """Whatever else `conclude` needs."""

    def wants_sample(self, code: str) -> bool:
        return sum(sample["code"] == code for sample in self.samples) < SAMPLES

    def add_sample(self, code: str, row: int, text: str, **more: Any) -> None:
        if self.wants_sample(code):
            self.samples.append({"code": code, "row": row, "text": text, **more})


@dataclass
class Outcome:
    """What a check says of a version."""

    counts: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)
    """Too large for a table, such as every item of every task."""
    found: list[Array] = field(default_factory=list)
    """Arrays of FINDING, in the order of the rows."""


class Check(ABC):
    """One check. `against` is what the platform gathered for it to hold rows against, see `gathering.py`."""

    name: ClassVar[str]
    version: ClassVar[int]
    """Grows whenever the check would find something else."""
    title: ClassVar[str]
    about: ClassVar[str]
    """One sentence: what it looks for."""
    finds: ClassVar[Mapping[str, str]]
    """Code → what it means of a row."""
    facts: ClassVar[frozenset[str]] = frozenset()
    """Codes that only describe a row: nothing to mend."""
    settings_class: ClassVar[type[Settings]] = Settings
    needs: ClassVar[frozenset[str]] = frozenset()
    """What must be gathered: names in `gathering.GATHERERS`."""
    do_not_call_in_templates: ClassVar[bool] = True
    """For Django's templates, which would make an instance of any class that they meet."""
    reads_rows: ClassVar[bool] = True
    """False: everything is in what was gathered."""

    def __init__(self, settings: Settings, against: Mapping[str, Any], folder: Path | None = None) -> None:
        self.settings = settings
        self.against = against
        self.folder = folder
        """Where what was gathered lies, if it is large."""
        self.codes = {code: place for place, code in enumerate(self.finds)}

    @abstractmethod
    def look(self, block: Block) -> Part: ...

    def conclude(self, parts: Iterable[tuple[int, Part]], scratch: Path) -> Outcome:
        """Sum of the counts, first samples and all findings. `scratch` is an empty folder."""
        outcome = Outcome()
        counts: Counter[str] = Counter()
        for first, part in parts:
            counts.update(part.counts)
            add_samples(outcome.samples, part, first)
            if part.found:
                outcome.found.append(list_findings(part.found, first))
        outcome.counts = dict(counts)
        return outcome


def add_samples(samples: list[dict[str, Any]], part: Part, first: int) -> None:
    kept = Counter(sample["code"] for sample in samples)
    for sample in part.samples:
        if kept[sample["code"]] < SAMPLES:
            kept[sample["code"]] += 1
            samples.append({**sample, "row": sample["row"] + first})


def list_findings(found: Iterable[tuple[int, int, int]], first: int = 0) -> Array:
    findings = numpy.array(list(found), dtype=FINDING)
    findings["row"] += first
    return findings


CHECKS: dict[str, type[Check]] = {}
"""Name → check, in the order in which they are shown."""
Registered = TypeVar("Registered", bound=type[Check])


def register(check: Registered) -> Registered:
    CHECKS[check.name] = check
    return check


def iterate_strings(value: Any) -> Iterator[str]:
    """Every text in a row, and whole numbers long enough to be somebody's."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from iterate_strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from iterate_strings(inner)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**7:
        yield str(value)
