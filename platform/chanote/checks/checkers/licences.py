"""Licences of the sources of a version that cannot all be kept at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy

from chanote.checks.base import FINDING, Check, Outcome, Part, register
from chanote.checks.block import Block

MOST_ROWS_TOLD = 1_000_000
NOT_COMMERCIAL = ("-NC", "NONCOMMERCIAL", "NON-COMMERCIAL")
OWN_TERMS_ONLY = {
    "CC-BY-SA": "Creative Commons share-alike",
    "CC-BY-NC-SA": "Creative Commons non-commercial share-alike",
    "ODBL": "Open Database Licence",
    "GPL": "GNU GPL",
    "AGPL": "GNU AGPL",
    "LGPL": "GNU LGPL",
    "GFDL": "GNU FDL",
    "CDLA-SHARING": "CDLA Sharing",
    "MPL": "Mozilla Public License",
    "EUPL": "European Union Public Licence",
}
"""Licences that want what is made of the work to carry themselves."""
GOES_INTO = {
    "CC-BY-SA": {"GPL"},
    "LGPL": {"GPL", "AGPL"},
    "GPL": {"AGPL"},
    "MPL": {"GPL", "LGPL", "AGPL"},
    "EUPL": {"GPL", "AGPL", "LGPL", "MPL", "CC-BY-SA"},
}
"""Share-alike licence → those under which the whole may go on (CC BY-SA 4.0 into GPL 3, EUPL's appendix)."""


@dataclass
class Licence:
    """One licence as far as a merge is concerned."""

    name: str
    family: str = ""
    """Key of OWN_TERMS_ONLY; empty for one that lets the whole carry other terms."""
    non_commercial: bool = False
    no_derivatives: bool = False
    unknown: bool = False
    sources: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)


@register
class Licences(Check):
    name = "licences"
    version = 1
    title = "Licences"
    about = "Sources whose licences cannot all be kept in one body of rows, and rows whose licence nobody has said."
    finds = {
        "conflict": "is under a licence that another source of the version rules out",
        "no_derivatives": "is under a licence that allows no changed or merged copy",
        "unknown": "is under a licence that nobody has said",
        "looser": "is under a stricter licence than the version says",
        "expired": "comes from a source whose consent has run out or was withdrawn",
    }
    needs = frozenset({"sources"})
    reads_rows = False

    def look(self, block: Block) -> Part:
        return Part(rows=len(block.lines))

    def conclude(self, parts: Iterable[tuple[int, Part]], scratch: Path) -> Outcome:
        spans = self.against["spans"]
        licences = read_licences(spans)
        merged = len(licences) > 1 or self.against["merged"]
        told: list[tuple[str, Licence, str]] = []
        for one, other in combinations(licences, 2):
            if reason := find_conflict(one, other):
                told += [("conflict", one, reason), ("conflict", other, reason)]
        for licence in licences:
            if licence.no_derivatives and merged:
                told.append(("no_derivatives", licence, f"{licence.name} allows no changed or merged copy."))
            if licence.unknown:
                told.append(("unknown", licence, f"Nobody has said under which licence {name_sources(licence)} is."))
            if licence.non_commercial and not self.against["non_commercial"]:
                told.append(
                    (
                        "looser",
                        licence,
                        f"{name_sources(licence)} is for non-commercial use only, and the version does not say so.",
                    )
                )
        outcome = Outcome(
            counts=dict.fromkeys(self.finds, 0)
            | {"licences": len(licences), "sources": len({span["source"] for span in spans})}
        )
        found: set[tuple[int, int, int]] = set()
        sentences: dict[tuple[str, str], None] = {}
        for code, licence, reason in told:
            sentences[code, reason] = None
            found |= {(start, stop, self.codes[code]) for start, stop in licence.spans}
        for span in spans:
            if span["ended"]:
                sentences["expired", span["ended"]] = None
                found.add((span["start"], span["stop"], self.codes["expired"]))
        outcome.samples = [
            {"code": code, "row": self._first_row(found, code), "text": reason} for code, reason in sentences
        ]
        for start, stop, place in found:
            outcome.counts[tuple(self.finds)[place]] += stop - start
        outcome.found = [spread(found)]
        return outcome

    def _first_row(self, found: set[tuple[int, int, int]], code: str) -> int:
        return min(start for start, _, place in found if place == self.codes[code])


def spread(found: set[tuple[int, int, int]]) -> Any:
    """Findings of whole spans; the first row stands for a span where there are too many rows, the value is its end."""
    rows = sum(stop - start for start, stop, _ in found)
    arrays = []
    for start, stop, code in sorted(found):
        one = numpy.zeros(stop - start if rows <= MOST_ROWS_TOLD else 1, dtype=FINDING)
        one["row"], one["code"], one["value"] = numpy.arange(start, start + len(one)), code, stop
        arrays.append(one)
    together = numpy.concatenate(arrays) if arrays else numpy.empty(0, dtype=FINDING)
    return together[numpy.argsort(together["row"], kind="stable")]


def read_licences(spans: Iterable[Mapping[str, Any]]) -> list[Licence]:
    """Each licence of the spans once; an expression joined by AND is several that all hold."""
    licences: dict[str, Licence] = {}
    for span in spans:
        for name in (span["licence"] or "LicenseRef-unknown").split(" AND "):
            name = name.strip("() ")
            key = f"{name}{'-NC' if span['non_commercial'] else ''}"
            licence = licences.setdefault(key, read_licence(name))
            licence.non_commercial |= span["non_commercial"]
            if span["source"] not in licence.sources:
                licence.sources.append(span["source"])
            licence.spans.append((span["start"], span["stop"]))
    return list(licences.values())


def read_licence(name: str) -> Licence:
    """By its SPDX identifier. `A OR B` leaves the choice: the mildest reading counts."""
    choices = [_read_one(part.strip("() ")) for part in name.split(" OR ")]
    mildest = min(choices, key=lambda one: (one.unknown, one.no_derivatives, one.non_commercial, bool(one.family)))
    mildest.name = name
    return mildest


def _read_one(name: str) -> Licence:
    upper = name.upper()
    families = sorted(
        (family for family in OWN_TERMS_ONLY if upper.startswith(f"{family}-") or upper == family), key=len
    )
    return Licence(
        name,
        family=families[-1] if families else "",
        non_commercial=any(mark in upper for mark in NOT_COMMERCIAL),
        no_derivatives="-ND" in upper,
        unknown=upper in ("LICENSEREF-UNKNOWN", "NOASSERTION", "NONE", ""),
    )


def find_conflict(one: Licence, other: Licence) -> str:
    """Why a body of rows cannot carry both; empty when it can."""
    for strict, loose in ((one, other), (other, one)):
        if strict.family and not strict.non_commercial and loose.non_commercial:
            return (
                f"{strict.name} wants the whole to be free for any use, and {loose.name} allows non-commercial use "
                f"only: keep {name_sources(strict)} and {name_sources(loose)} in versions of their own."
            )
    if not one.family or not other.family or one.family == other.family:
        return ""
    if other.family in GOES_INTO.get(one.family, ()) or one.family in GOES_INTO.get(other.family, ()):
        return ""
    return (
        f"{one.name} and {other.name} each want the whole under their own terms: keep {name_sources(one)} and "
        f"{name_sources(other)} in versions of their own."
    )


def name_sources(licence: Licence) -> str:
    shown = ", ".join(licence.sources[:3])
    return shown if len(licence.sources) <= 3 else f"{shown} and {len(licence.sources) - 3} more"
