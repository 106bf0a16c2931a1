"""Every write about sources, but for their withdrawal."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from chanote.accounts.models import Project
from chanote.accounts.roles import may, require
from chanote.audit.services import record
from chanote.datasets.models import DatasetVersion, Use
from chanote.rights.exceptions import RightsRefused, check_text
from chanote.rights.licences import UNKNOWN, check_licence, is_non_commercial
from chanote.rights.models import Purpose, Source, SourceSpan
from chanote.web.problems import Problem

FACTS = (
    "title", "licence", "legal_basis", "uses", "non_commercial", "jurisdiction", "owner", "contact", "collected",
    "expires", "languages", "origin",
)  # fmt: skip
"""What is said of a source, by the names of its columns."""
DECLARED = ("legal_basis", "jurisdiction", "owner", "contact", "collected", "expires")
"""Those that an import may say of the source that it makes, beside what it says of the rows anyway."""
TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*\Z")


@transaction.atomic
def create_source(*, project: Project, slug: str, actor: Any, **facts: Any) -> Source:
    """A new source. Raises RightsRefused with every problem, PermissionDenied. An `actor` of None is the platform."""
    if actor is not None:
        require(actor, "datasets.change", project)
    source = Source(project=project, slug=slug, created_by=actor)
    _set_facts(source, {"title": slug, "licence": UNKNOWN, **_leave_out_empty(facts)})
    if Source.objects.filter(project=project, slug=slug).exists():
        raise RightsRefused(Problem("slug", f"The project already has a source named {slug}; choose another name."))
    source.save()
    record("source.created", source, actor=actor, **describe_facts(source))
    return source


@transaction.atomic
def change_source(source: Source, *, reason: str, actor: Any, **facts: Any) -> Source:
    """Say something else of a source; the versions that hold its rows follow at once.

    Whoever may not decide on rights may only narrow what it allows. Raises RightsRefused, PermissionDenied.
    """
    require(actor, "datasets.change", source.project)
    reason = check_text("reason", reason)
    source = Source.objects.select_for_update().select_related("project").get(pk=source.pk)
    before = describe_facts(source)
    _set_facts(source, facts)
    if _is_wider(source, before):
        require(actor, "rights.decide", source.project)
    source.save()
    after = describe_facts(source)
    changed = {name: value for name, value in after.items() if value != before[name]}
    if changed:
        record(
            "source.changed",
            source,
            actor=actor,
            reason=reason,
            changed=changed,
            before={name: before[name] for name in changed},
        )
    return source


def _is_wider(source: Source, before: Mapping[str, Any]) -> bool:
    later = before["expires"] is not None and (
        source.expires is None or source.expires > date.fromisoformat(before["expires"])
    )
    return bool(
        set(source.uses) - set(before["uses"]) or (before["non_commercial"] and not source.non_commercial) or later
    )


def set_purpose(project: Project, *, commercial: bool, actor: Any) -> Purpose:
    """Say whether the project serves commerce; then nothing non-commercial may be used in it."""
    require(actor, "projects.administer", project)
    with transaction.atomic():
        purpose, _ = Purpose.objects.select_for_update().get_or_create(project=project)
        if purpose.commercial != commercial:
            purpose.commercial = commercial
            purpose.save(update_fields=["commercial"])
            record("project.purpose_set", project, project=project, actor=actor, commercial=commercial)
    return purpose


def choose_source(
    *,
    project: Project,
    dataset: str,
    newest: DatasetVersion | None,
    named: str,
    licence: str,
    uses: Sequence[str],
    non_commercial: bool,
    origin: str,
    languages: Sequence[str],
    declared: Mapping[str, Any],
    actor: Any,
) -> Source:
    """The source that the rows of an import come from: the one it names, that of the version before where nothing
    else is said, or a new one made of what the import says. Called in the import's transaction."""
    said: dict[str, Any] = {
        "licence": licence,
        "uses": list(uses),
        "non_commercial": non_commercial,
        "origin": origin,
        "languages": list(languages),
        **_leave_out_empty(declared),
    }
    if named:
        found = Source.objects.filter(project=project, slug=named).first()
        return found or create_source(project=project, slug=named, title=named, actor=actor, **said)
    if newest is not None and (previous := find_only_source(newest)) is not None and not previous.is_withdrawn:
        same = set(uses) <= set(previous.uses) and non_commercial >= previous.non_commercial
        if same and licence == previous.licence and origin in ("", previous.origin) and not _leave_out_empty(declared):
            return previous
    alike = Source.objects.filter(project=project, slug=dataset, withdrawn=None).first()
    if alike is not None and all(getattr(alike, name) == value for name, value in said.items()):
        return alike
    return create_source(project=project, slug=free_slug(project, dataset), title=dataset, actor=actor, **said)


def find_only_source(version: DatasetVersion) -> Source | None:
    """The source of every row; None where there are several or some rows have none."""
    spans = list(SourceSpan.objects.filter(version=version).select_related("source")[:2])
    if len(spans) == 1 and (spans[0].start, spans[0].stop) == (0, version.rows):
        return spans[0].source
    return None


def find_wider_uses(project: Project, sha256: str, uses: Sequence[str], actor: Any) -> tuple[str, list[str]] | None:
    """A version with the very same rows whose rights are narrower, and the uses that these rows would win; None where
    there is none or the actor may decide on rights."""
    if actor is None or may(actor, "rights.decide", project):
        return None
    same = DatasetVersion.objects.filter(dataset__project=project, sha256=sha256).select_related("dataset")
    for version in same:
        allowed = set(version.uses)
        for span in version.spans.select_related("source"):
            allowed &= set() if span.source.is_withdrawn else set(span.source.uses)
        if wider := [use for use in uses if use not in allowed]:
            return version.reference, wider
    return None


def free_slug(project: Project, wanted: str) -> str:
    wanted = wanted[:70]
    taken = set(Source.objects.filter(project=project, slug__startswith=wanted).values_list("slug", flat=True))
    if wanted not in taken:
        return wanted
    return next(name for number in range(2, len(taken) + 3) if (name := f"{wanted}-{number}") not in taken)


def describe_facts(source: Source) -> dict[str, Any]:
    """What is said of it, as JSON holds it."""
    facts = {name: getattr(source, name) for name in FACTS}
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in facts.items()}


def _leave_out_empty(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in (None, "", [])}


def _set_facts(source: Source, facts: Mapping[str, Any]) -> None:
    """Put checked facts on the source. Raises RightsRefused with every problem."""
    if unknown := set(facts) - set(FACTS):
        raise TypeError(f"a source has no {', '.join(sorted(unknown))}")
    problems = []
    for name, value in facts.items():
        setattr(source, name, value.strip() if isinstance(value, str) else value)
    if wrong := check_licence(source.licence):
        problems.append(Problem("licence", wrong))
    if bad := [use for use in source.uses if use not in Use.values]:
        problems.append(Problem("uses", f"The use {bad[0]!r} is not known; use {', '.join(Use.values)}."))
    source.uses = [use for use in Use.values if use in source.uses]
    # What the licence says cannot be unsaid.
    source.non_commercial = source.non_commercial or is_non_commercial(source.licence)
    source.languages = list(source.languages)
    if bad := [tag for tag in source.languages if not isinstance(tag, str) or not TAG.match(tag)]:
        problems.append(Problem("languages", f"{bad[0]!r} is no language tag; write tags such as th or pt-BR."))
    if source.collected and source.expires and source.expires < source.collected:
        problems.append(
            Problem("expires", f"The consent would end on {source.expires}, before the rows were collected.")
        )
    try:
        source.full_clean(exclude=["project", "created_by", "withdrawn_by", "uses", "languages"], validate_unique=False,
                          validate_constraints=False)  # fmt: skip
    except ValidationError as error:
        for name, texts in error.message_dict.items():
            problems += [Problem(name, f"{name.replace('_', ' ').capitalize()}: {text}") for text in texts]
    if problems:
        raise RightsRefused(*problems)
