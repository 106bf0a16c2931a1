"""Versions made of the rows of other versions: edited, merged, translated, generated."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.datasets.canonical import check_row, encode_row
from chanote.datasets.errors import SHOWN, BadRow, ImportRefused, RowError, refuse
from chanote.datasets.kinds import ROW_MODELS
from chanote.datasets.models import Dataset, DatasetVersion, Use
from chanote.datasets.services import add_version, check_request, compare_with_newest
from chanote.datasets.statistics import RowStatistics
from chanote.datasets.storage import RowWriter, check_space, open_rows
from chanote.rights.spans import SpanWriter, read_sources

SourcedRow = tuple[dict[str, Any], int | None]
"""A row and the primary key of its source, None where nothing is known."""
LONGEST_LICENCE = 80
SEVERAL_LICENCES = "LicenseRef-several"


def read_sourced_rows(version: DatasetVersion, start: int = 0, stop: int | None = None) -> Iterator[SourcedRow]:
    """Rows `start` to `stop` (from 0, `stop` not included), each with its source."""
    stop = version.rows if stop is None else min(stop, version.rows)
    return zip(open_rows(version, start, stop), read_sources(version, start, stop), strict=True)


def make_version(
    *,
    project: Project,
    slug: str,
    kind: str,
    rows: Iterable[SourcedRow],
    drawn_from: Sequence[DatasetVersion],
    operation: dict[str, Any],
    reason: str,
    title: str = "",
    uses: Sequence[str] | None = None,
    licence: str = "",
    non_commercial: bool | None = None,
    source: str = "",
    languages: Sequence[str] = (),
    follows: DatasetVersion | None = None,
    actor: Any,
) -> DatasetVersion:
    """Make the next version of a dataset from rows, the dataset too when the project has none of this name.

    `operation` has a `name` and everything needed to do it again. Rights are the strictest of `drawn_from`; `uses`
    may only narrow them. Whole or not at all: raises ImportRefused with every problem. Rows and rights equal to those
    of the newest version make no new one: that version is returned with `unchanged` set. The rows may be a generator
    and are read once, in bounded memory. Give `follows` where the dataset may have no newer version than that one.
    """
    if actor is not None:
        require(actor, "datasets.change", project)
    existing = Dataset.objects.filter(project=project, slug=slug).first()
    check_request(
        project=project, slug=slug, kind=kind, title=title, uses=uses, licence=licence, reason=reason, existing=existing
    )
    allowed = [use for use in Use.values if all(use in version.uses for version in drawn_from)]
    if uses is not None and drawn_from and (wider := set(uses) - set(allowed)):
        raise refuse(
            "uses", f"The rows it is made of do not allow {', '.join(sorted(wider))}; leave out what they do not allow."
        )
    check_space()
    statistics, spans = RowStatistics(), SpanWriter()
    with RowWriter() as writer:
        _write(rows, kind, writer, statistics, spans)
        sha256 = writer.keep()
    content: dict[str, Any] = {
        "sha256": sha256,
        "rows": writer.rows,
        "bytes": writer.bytes,
        "statistics": statistics.summarise(),
        "operation": operation,
    }
    content["statistics"]["difference"] = compare_with_newest(existing, sha256, writer.rows)
    return add_version(
        project=project,
        slug=slug,
        kind=kind,
        title=title,
        description="",
        languages=languages or merge_languages(drawn_from),
        actor=actor,
        licence=licence or join_licences(version.licence for version in drawn_from),
        uses=allowed if uses is None and drawn_from else uses,
        non_commercial=bool(non_commercial) or any(version.non_commercial for version in drawn_from),
        source=source or "\n".join(dict.fromkeys(version.source for version in drawn_from if version.source)),
        reason=reason,
        content=content,
        drawn_from=drawn_from,
        spans=spans,
        follows=follows,
    )


def _write(
    rows: Iterable[SourcedRow], kind: str, writer: RowWriter, statistics: RowStatistics, spans: SpanWriter
) -> None:
    row_model = ROW_MODELS[kind]
    bad: list[BadRow] = []
    bad_total = 0
    for number, (content, source) in enumerate(rows, 1):
        try:
            checked = check_row(row_model, content)
            line = encode_row(checked.content())
        except RowError as error:
            bad_total += 1
            if len(bad) < SHOWN:
                bad.append(BadRow(number, str(error)))
            continue
        if not bad_total:
            writer.write(line)
            statistics.add(checked)
            spans.add(source)
    if bad_total:
        raise ImportRefused(bad_rows=bad, bad_total=bad_total)
    if not writer.rows:
        raise refuse("rows", "No row is left; a version holds at least one.")


def join_licences(licences: Iterable[str]) -> str:
    """One SPDX expression for rows of several licences: all of them apply."""
    parts = dict.fromkeys(chain.from_iterable(licence.split(" AND ") for licence in licences if licence))
    joined = " AND ".join(parts)
    return joined if len(joined) <= LONGEST_LICENCE else SEVERAL_LICENCES


def merge_languages(versions: Sequence[DatasetVersion]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(version.dataset.languages for version in versions)))
