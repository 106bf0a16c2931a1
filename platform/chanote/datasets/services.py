"""Every write about datasets."""

import errno
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.text import slugify

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.datasets.canonical import check_row, encode_row
from chanote.datasets.columns import Columns, map_row, resolve_columns
from chanote.datasets.differences import count_differences
from chanote.datasets.errors import SHOWN, BadRow, ImportRefused, RowError, refuse
from chanote.datasets.kinds import ROW_MODELS
from chanote.datasets.models import Dataset, DatasetVersion, Kind, Use
from chanote.datasets.reading import RawRow, read_rows
from chanote.datasets.statistics import RowStatistics
from chanote.datasets.storage import RowWriter, check_space
from chanote.rights.spans import SpanWriter
from chanote.web.problems import Problem

__all__ = ["ImportRefused", "describe_dataset", "import_dataset", "prepare_rows"]

UNKNOWN_LICENCE = "LicenseRef-unknown"
LICENCE = re.compile(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*\Z")
DEFAULT_USES = (Use.TRAIN, Use.DISTIL, Use.EVALUATE)
LAYOUT_ROWS = 100
"""First rows whose names are taken together as the columns of a JSONL file."""


def import_dataset(
    *,
    project: Project,
    slug: str,
    kind: str,
    file: BinaryIO | Path | str,
    format: str,
    title: str = "",
    columns: Mapping[str, str | list[str]] | None = None,
    licence: str = "",
    uses: Sequence[str] | None = None,
    non_commercial: bool | None = None,
    source: str = "",
    languages: Sequence[str] = (),
    reason: str = "",
    description: str = "",
    actor: Any,
) -> DatasetVersion:
    """Import a file as the next version of the dataset, which is made when the project has none of this name.

    Whole or not at all: raises ImportRefused with every problem, and then nothing has changed. Rows and rights equal
    to those of the newest version make no new version: that version is returned with `unchanged` set. Rights that are
    not given are those of the newest version. An `actor` of None is the platform itself.
    """
    if actor is not None:
        require(actor, "datasets.change", project)
    existing = Dataset.objects.filter(project=project, slug=slug).first()
    check_request(
        project=project, slug=slug, kind=kind, title=title, uses=uses, licence=licence, reason=reason, existing=existing
    )
    check_space()
    statistics = RowStatistics()
    with ExitStack() as opened:
        if isinstance(file, Path | str):
            file = opened.enter_context(_open_file(Path(file)))
        writer = opened.enter_context(RowWriter())
        try:
            _write_rows(prepare_rows(file, format, kind, columns), kind, writer, statistics)
            sha256 = writer.keep()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise refuse("file", "The disk of the platform is full; make room and try again.") from error
            raise
    content: dict[str, Any] = {
        "sha256": sha256,
        "rows": writer.rows,
        "bytes": writer.bytes,
        "statistics": statistics.summarise(),
        "operation": {"name": "import", "format": format, "columns": dict(columns or {})},
    }
    # Before the transaction: it may take a second, and SQLite lets one transaction write at a time.
    if difference := compare_with_newest(existing, sha256, writer.rows):
        content["statistics"]["difference"] = difference
    return add_version(
        project=project,
        slug=slug,
        kind=kind,
        title=title,
        description=description,
        languages=languages,
        actor=actor,
        licence=licence,
        uses=uses,
        non_commercial=non_commercial,
        source=source,
        reason=reason,
        content=content,
    )


def prepare_rows(
    file: BinaryIO, format: str, kind: str, columns: Mapping[str, str | list[str]] | None
) -> Iterator[RawRow | BadRow]:
    """Rows of a file under the names of the kind's fields, not yet checked."""
    rows = read_rows(file, format)
    first = list(islice(rows, LAYOUT_ROWS))
    names = name_columns(first)
    layout: Columns = resolve_columns(kind, names, columns) if names else {}
    yield from _map_rows(first, kind, layout, format)
    yield from _map_rows(rows, kind, layout, format)


def name_columns(rows: Iterable[RawRow | BadRow]) -> list[str]:
    """Names that the rows use, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows if not isinstance(row, BadRow) for name in row[1]))


def _map_rows(rows: Iterable[RawRow | BadRow], kind: str, layout: Columns, format: str) -> Iterator[RawRow | BadRow]:
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        number, content = row
        try:
            yield number, map_row(kind, content, layout, cells=format == "csv")
        except RowError as error:
            yield BadRow(number, str(error))


def _write_rows(rows: Iterable[RawRow | BadRow], kind: str, writer: RowWriter, statistics: RowStatistics) -> None:
    """Write rows until the first bad one; from then on only look for further bad ones."""
    row_model = ROW_MODELS[kind]
    bad: list[BadRow] = []
    bad_total = 0
    for row in rows:
        if not isinstance(row, BadRow):
            number, content = row
            try:
                checked = check_row(row_model, content)
                line = encode_row(checked.content())
                if not bad_total:
                    writer.write(line)
                    statistics.add(checked)
                continue
            except RowError as error:
                row = BadRow(number, str(error))
        bad_total += 1
        if len(bad) < SHOWN:
            bad.append(row)
    if bad_total:
        raise ImportRefused(bad_rows=bad, bad_total=bad_total)
    if not writer.rows:
        raise refuse("file", "The file holds no rows.")


def _open_file(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise refuse("file", f"{path} cannot be read: {error.strerror}.") from error


def check_request(
    *,
    project: Project,
    slug: str,
    kind: str,
    title: str,
    uses: Sequence[str] | None,
    licence: str,
    reason: str,
    existing: Dataset | None,
) -> None:
    problems = []
    if kind not in Kind.values:
        problems.append(Problem("kind", f"The kind {kind!r} is not known; use {', '.join(Kind.values)}."))
    elif existing and existing.kind != kind:
        problems.append(
            Problem("kind", f"The dataset {slug} holds {existing.kind} rows, not {kind} rows; choose another name.")
        )
    for use in uses or ():
        if use not in Use.values:
            problems.append(Problem("uses", f"The use {use!r} is not known; use {', '.join(Use.values)}."))
    if licence and (not LICENCE.match(licence) or len(licence) > 80):
        problems.append(
            Problem(
                "licence",
                "A licence is an SPDX identifier such as CC-BY-4.0, several joined by AND, or LicenseRef- and a name.",
            )
        )
    if len(reason) > 500:
        problems.append(Problem("reason", f"The reason has {len(reason):,} characters; 500 fit."))
    draft = Dataset(project=project, slug=slug, kind=kind if kind in Kind.values else Kind.TEXT, title=title or slug)
    try:
        draft.clean_fields(exclude=["project", "created_by", "languages", "description"])
    except ValidationError as error:
        for field, messages in error.message_dict.items():
            problems += [Problem(field, f"{field.capitalize()}: {message}") for message in messages]
    if problems:
        raise ImportRefused(problems)


@transaction.atomic
def add_version(
    *,
    project: Project,
    slug: str,
    kind: str,
    title: str,
    description: str,
    languages: Sequence[str],
    actor: Any,
    licence: str,
    uses: Sequence[str] | None,
    non_commercial: bool | None,
    source: str,
    reason: str,
    content: dict[str, Any],
    drawn_from: Sequence[DatasetVersion] = (),
    spans: SpanWriter | None = None,
    follows: DatasetVersion | None = None,
) -> DatasetVersion:
    """Write a version whose rows are in the store already; the one step of every import and every operation on rows."""
    # Two imports of one name wait for each other here, so that numbers follow each other.
    Project.objects.select_for_update().get(pk=project.pk)
    dataset, created = Dataset.objects.get_or_create(
        project=project,
        slug=slug,
        defaults={
            "kind": kind,
            "title": title or slug,
            "description": description,
            "languages": list(languages),
            "created_by": actor,
        },
    )
    if dataset.kind != kind:
        raise refuse("kind", f"The dataset {slug} holds {dataset.kind} rows, not {kind} rows; choose another name.")
    newest = dataset.versions.order_by("-number").first()
    if follows is not None and newest != follows:
        raise refuse("version", f"{newest} was made meanwhile, so what follows {follows} would undo it; start from it.")
    chosen = set(uses) if uses is not None else set(newest.uses if newest else DEFAULT_USES)
    rights: dict[str, Any] = {
        "licence": licence or (newest.licence if newest else UNKNOWN_LICENCE),
        "uses": [use for use in Use.values if use in chosen],
        "non_commercial": bool(newest and newest.non_commercial) if non_commercial is None else non_commercial,
    }
    if newest and newest.sha256 == content["sha256"] and rights == {name: getattr(newest, name) for name in rights}:
        newest.unchanged = True
        return newest
    version = DatasetVersion(
        dataset=dataset,
        number=newest.number + 1 if newest else 1,
        parent=newest,
        source=source or (newest.source if newest else ""),
        reason=reason,
        created_by=actor,
        **rights,
        **content,
    )
    version.save()
    version.drawn_from.set(drawn_from)
    if spans is not None:
        spans.save(version)
    if created:
        record("dataset.created", dataset, actor=actor)
    record(
        "dataset.version_made" if drawn_from else "dataset.version_imported",
        version,
        actor=actor,
        sha256=version.sha256,
        rows=version.rows,
        reason=reason,
        operation=version.operation.get("name", ""),
        **rights,
    )
    return version


def compare_with_newest(dataset: Dataset | None, sha256: str, rows: int) -> dict[str, Any]:
    """How rows that lie in the store differ from the newest version of a dataset; empty where that is not known."""
    newest = dataset.versions.order_by("-number").first() if dataset else None
    if newest is None:
        return {}
    difference = count_differences(newest, DatasetVersion(sha256=sha256, rows=rows))
    return {**difference, "from": newest.number} if difference else {}


@transaction.atomic
def describe_dataset(
    dataset: Dataset, *, title: str, description: str, languages: Sequence[str], actor: Any
) -> Dataset:
    """Change the words about a dataset; its rows and rights belong to its versions and never change."""
    require(actor, "datasets.change", dataset.project)
    dataset.title, dataset.description, dataset.languages = title, description, list(languages)
    dataset.full_clean(exclude=["created_by"])
    vars(dataset).update(_history_user=actor)
    dataset.save(update_fields=["title", "description", "languages"])
    record("dataset.described", dataset, actor=actor, title=title, languages=dataset.languages)
    return dataset


def suggest_slug(name: str) -> str:
    """A name for a dataset from a file's name."""
    return slugify(Path(name).stem).strip("-_")[:80] or "dataset"
