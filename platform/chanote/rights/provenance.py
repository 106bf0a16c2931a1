"""What a page says of where a version comes from: sources, languages and scripts, parents and the operation."""

from dataclasses import dataclass
from typing import Any

from chanote.datasets.models import DatasetVersion, Use
from chanote.datasets.pages import UseChip, list_shares
from chanote.rights.models import ExceptionRequest, Source
from chanote.rights.rules import Refusal, SourceRows, judge_version, read_sources_of, spell_ranges

WORDS = {Use.TRAIN: "Train", Use.DISTIL: "Distil", Use.EVALUATE: "Evaluate", Use.PUBLISH: "Publish"}


@dataclass(frozen=True)
class SourceLine:
    source: Source
    rows: str
    uses: list[UseChip]


@dataclass(frozen=True)
class Provenance:
    """For `rights/_provenance.html`."""

    version: DatasetVersion
    sources: list[SourceLine]
    refusals: list[Refusal]
    """What today keeps any use from the version, each sentence once."""
    drawn_from: list[DatasetVersion]
    operation: list[tuple[str, Any]]
    exceptions: list[ExceptionRequest]

    @property
    def scripts(self) -> list[str]:
        """Scripts of its letters with their shares, the most frequent first."""
        return [f"{share.name} {share.percent}" for share in list_shares(self.version.statistics)]

    @property
    def operation_name(self) -> str:
        return str(self.version.operation.get("name", ""))


def list_use_chips(uses: list[str]) -> list[UseChip]:
    return [UseChip(word, use in uses) for use, word in WORDS.items()]


def describe_provenance(version: DatasetVersion) -> Provenance:
    return Provenance(
        version=version,
        sources=[_describe(one) for one in read_sources_of(version)],
        refusals=[refusal for use in Use.values for refusal in judge_version(version, use).refusals],
        drawn_from=list(version.drawn_from.select_related("dataset__project").order_by("dataset__slug", "number")),
        operation=[
            (name, value) for name, value in version.operation.items() if name != "name" and value not in ({}, [], "")
        ],
        exceptions=list(version.exceptions.select_related("requested_by", "decided_by")),
    )


def _describe(one: SourceRows) -> SourceLine:
    return SourceLine(one.source, spell_ranges(one.ranges, one.more), list_use_chips(one.source.uses))
