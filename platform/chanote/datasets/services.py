"""Every write about datasets."""

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.text import slugify

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.datasets.canonical import check_row, encode_row
from chanote.datasets.columns import Columns, extend_columns, map_row, resolve_columns
from chanote.datasets.differences import count_differences
from chanote.datasets.errors import SHOWN, BadRow, ImportRefused, RowError, refuse
from chanote.datasets.kinds import ROW_MODELS
from chanote.datasets.models import Dataset, DatasetVersion, Kind, Use
from chanote.datasets.reading import RawRow, read_rows
from chanote.datasets.statistics import RowStatistics
from chanote.datasets.storage import RowWriter, check_space
from chanote.rights.exceptions import RightsRefused
from chanote.rights.licences import check_licence
from chanote.rights.models import Source
from chanote.rights.sources import choose_source, find_wider_uses
from chanote.rights.spans import SpanWriter
from chanote.web.problems import Problem

__all__ = ["ImportRefused", "describe_dataset", "import_dataset", "prepare_rows"]

UNKNOWN_LICENCE = "LicenseRef-unknown"
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
    source_name: str = "",
    source_facts: Mapping[str, Any] | None = None,
    source_of: Callable[[dict[str, Any]], int] | None = None,
    actor: Any,
) -> DatasetVersion:
    """Import a file as the next version of the dataset, which is made when the project has none of this name.

    The rows come from the source that `source_name` names: one that the project has, whose terms hold, or one that is
    made of what the import says and of `source_facts` (see `chanote.rights.sources.DECLARED`). Without a name it is
    the source of the version before, or one made of what the import says. `source_of` tells row by row, as the
    primary key of its source.

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
    found = Source.objects.filter(project=project, slug=source_name).first() if source_name else None
    if found is not None:
        refuse_other_facts(found, source_facts or {})
        licence, uses, non_commercial = take_terms(found, licence, uses, non_commercial)
    check_space()
    statistics = RowStatistics()
    spans = SpanWriter()
    with ExitStack() as opened:
        if isinstance(file, Path | str):
            file = opened.enter_context(_open_file(Path(file)))
        writer = opened.enter_context(RowWriter())
        try:
            _write_rows(prepare_rows(file, format, kind, columns), kind, writer, statistics, spans, source_of)
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
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=project.pk)
        newest = existing.versions.order_by("-number").first() if existing else None
        rights = settle_rights(newest, licence, uses, non_commercial)
        if wider := find_wider_uses(project, sha256, rights["uses"], actor):
            raise refuse(
                "uses",
                f"These very rows are {wider[0]} already, whose rights do not allow {', '.join(wider[1])}; a curator "
                "or an admin can allow more at its source.",
            )
        if source_of is None:
            try:
                chosen = choose_source(
                    project=project,
                    dataset=slug,
                    newest=newest,
                    named=source_name,
                    licence=rights["licence"],
                    uses=rights["uses"],
                    non_commercial=rights["non_commercial"],
                    origin=source,
                    languages=languages,
                    declared=source_facts or {},
                    actor=actor,
                )
            except RightsRefused as error:
                raise ImportRefused([_name_field(one) for one in error.problems]) from error
            spans.cover(chosen.pk, writer.rows)
            source = source or chosen.origin
        return add_version(
            project=project,
            slug=slug,
            kind=kind,
            title=title,
            description=description,
            languages=languages,
            actor=actor,
            source=source,
            reason=reason,
            content=content,
            spans=spans,
            **rights,
        )


def _name_field(problem: Problem) -> Problem:
    """Problems of a source that is made on the way, by the fields of the import."""
    names = {"slug": "source_name", "origin": "source"}
    return Problem(names.get(problem.field, problem.field), problem.message)


def refuse_other_facts(source: Source, facts: Mapping[str, Any]) -> None:
    """Raise ImportRefused where an import says of a source that the project has what the source does not say."""
    differing = [name for name, value in facts.items() if value and value != getattr(source, name)]
    if differing:
        raise ImportRefused(
            [
                Problem(
                    name,
                    f"The source {source.slug} is known already and says otherwise; leave this out, or change the "
                    "source on its page.",
                )
                for name in differing
            ]
        )


def take_terms(
    source: Source, licence: str, uses: Sequence[str] | None, non_commercial: bool | None
) -> tuple[str, Sequence[str], bool]:
    """Rights of rows from a source that the project has: its terms, narrowed by what the import says."""
    if source.is_withdrawn:
        raise refuse("source_name", f"The source {source.slug} was withdrawn, so no further rows of it are taken.")
    if uses is not None and (wider := [use for use in uses if use not in source.uses]):
        raise refuse(
            "uses", f"The source {source.slug} does not allow {', '.join(wider)}; leave out what it does not allow."
        )
    if licence and licence != source.licence:
        named = source.licence or "no named licence"
        raise refuse("licence", f"The source {source.slug} is under {named}; leave the licence out.")
    return source.licence, source.uses if uses is None else uses, bool(non_commercial) or source.non_commercial


def prepare_rows(
    file: BinaryIO, format: str, kind: str, columns: Mapping[str, str | list[str]] | None
) -> Iterator[RawRow | BadRow]:
    """Rows of a file under the names of the kind's fields, not yet checked."""
    rows = read_rows(file, format)
    first = list(islice(rows, LAYOUT_ROWS))
    names = name_columns(first)
    known = dict.fromkeys(names)
    layout: Columns = resolve_columns(kind, names, columns) if names else {}
    for row in chain(first, rows):
        if not isinstance(row, BadRow) and (late := [name for name in row[1] if name not in known]):
            known.update(dict.fromkeys(late))
            layout = extend_columns(kind, layout, list(known), columns)
        yield _map_row(row, kind, layout, format)


def name_columns(rows: Iterable[RawRow | BadRow]) -> list[str]:
    """Names that the rows use, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows if not isinstance(row, BadRow) for name in row[1]))


def _map_row(row: RawRow | BadRow, kind: str, layout: Columns, format: str) -> RawRow | BadRow:
    if isinstance(row, BadRow):
        return row
    number, content = row
    try:
        return number, map_row(kind, content, layout, cells=format == "csv")
    except RowError as error:
        return BadRow(number, str(error))


def _write_rows(
    rows: Iterable[RawRow | BadRow],
    kind: str,
    writer: RowWriter,
    statistics: RowStatistics,
    spans: SpanWriter,
    source_of: Callable[[dict[str, Any]], int] | None,
) -> None:
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
                    if source_of is not None:
                        spans.add(source_of(checked.content()))
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
    if wrong := check_licence(licence):
        problems.append(Problem("licence", wrong))
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
    rights = settle_rights(newest, licence, uses, non_commercial)
    same_rights = newest is not None and rights == {name: getattr(newest, name) for name in rights}
    same_sources = newest is not None and (spans is None or spans.are_those_of(newest))
    if newest and newest.sha256 == content["sha256"] and same_rights and same_sources:
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


def settle_rights(
    newest: DatasetVersion | None, licence: str, uses: Sequence[str] | None, non_commercial: bool | None
) -> dict[str, Any]:
    """Rights as said; what is not said is taken over from the newest version."""
    chosen = set(uses) if uses is not None else set(newest.uses if newest else DEFAULT_USES)
    return {
        "licence": licence or (newest.licence if newest else UNKNOWN_LICENCE),
        "uses": [use for use in Use.values if use in chosen],
        "non_commercial": bool(newest and newest.non_commercial) if non_commercial is None else non_commercial,
    }


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
