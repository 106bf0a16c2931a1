"""Every write about endpoints and builds."""

import math
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from pydantic import ValidationError as Invalid

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.building.doing import blank_funnel
from chanote.building.keys import KEY, write_key
from chanote.building.kinds import BuildConfig, BuildKind, find_kinds
from chanote.building.models import Build, TeacherEndpoint
from chanote.building.references import endpoint_fields, version_fields
from chanote.curation.rules import explain_refusal
from chanote.datasets.models import DatasetVersion, Use
from chanote.datasets.selectors import find_version
from chanote.errands.services import start_errand
from chanote.rights.rules import judge_version
from chanote.tools.endpoints import find_endpoint
from chanote.web.problems import Problem, list_pydantic_problems

SETTINGS = (
    "base_url", "model", "concurrency", "seconds", "prompt_price", "completion_price", "currency", "most_money",
    "licence", "uses", "terms",
)  # fmt: skip


class BuildRefused(Exception):
    """Nothing was changed; `problems` say why, by field."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = list(problems)


def save_endpoint(
    *, project: Project, slug: str, actor: Any, key: str | None = None, **settings: Any
) -> TeacherEndpoint:
    """Make an endpoint, or change the one of this name. `key`: None leaves it as it is, an empty one removes it.

    Another address drops the key that was stored for the old one, unless a key is given. Raises BuildRefused.
    """
    require(actor, "endpoints.change", project)
    if unknown := settings.keys() - set(SETTINGS):
        raise BuildRefused([Problem(name, "is not a known field; remove it.") for name in sorted(unknown)])
    with transaction.atomic():
        row = TeacherEndpoint.objects.select_for_update().filter(project=project, slug=slug).first()
        made = row is None
        row = row or TeacherEndpoint(project=project, slug=slug, created_by=actor)
        moved = not made and "base_url" in settings and settings["base_url"].rstrip("/") != row.base_url
        for name, value in settings.items():
            setattr(row, name, value)
        row.base_url = row.base_url.rstrip("/")
        _check_endpoint(row, key)
        if moved and key is None:
            key = ""
        if key is not None:
            row.has_key = bool(key)
        row.save()
        told = {name: getattr(row, name) for name in SETTINGS}
        record("endpoint.made" if made else "endpoint.changed", row, actor=actor, has_key=row.has_key, **told)
        if key is not None:
            write_key(row, key)
    return row


def remove_endpoint(row: TeacherEndpoint, *, actor: Any) -> None:
    """Builds that used it keep what they got from it."""
    require(actor, "endpoints.change", row.project)
    with transaction.atomic():
        record("endpoint.removed", row, actor=actor)
        write_key(row, "")
        row.delete()


def start_build(*, project: Project, kind: str, config: dict[str, Any], title: str = "", actor: Any) -> Build:
    """Check the config, fix the versions that it names, and queue the build. Raises BuildRefused."""
    require(actor, "datasets.change", project)
    one = find_kinds().get(kind)
    if one is None:
        known = ", ".join(find_kinds())
        raise BuildRefused([Problem("kind", f"There is no kind of build {kind!r}; choose one of {known}.")])
    checked = check_config(one, config, project=project)
    resolved = checked.model_dump(mode="json")
    words = title.strip()[:160] or f"{one.title}: {checked.name}"
    with transaction.atomic():
        errand = start_errand("building.build", project=project, actor=actor, config={"kind": kind}, title=words)
        build = Build.objects.create(
            project=project,
            errand=errand,
            kind=kind,
            title=words,
            config=resolved,
            funnel=blank_funnel(one.steps),
            created_by=actor,
        )
        record("build.started", build, actor=actor, kind=kind, config=resolved)
    return build


def check_config(kind: BuildKind[Any], config: dict[str, Any], *, project: Project) -> BuildConfig:
    """The config with every default, its versions named by number. Raises BuildRefused."""
    try:
        checked: BuildConfig = kind.config_class.model_validate(config)
    except Invalid as error:
        raise BuildRefused(list_pydantic_problems(error)) from error
    problems: list[Problem] = []
    fixed: dict[str, Any] = {}
    allowed: dict[str, set[str]] = {}
    for name in version_fields(kind.config_class):
        reference = getattr(checked, name)
        if not reference:
            continue
        try:
            version = find_version(project, reference)
        except DatasetVersion.DoesNotExist as error:
            problems.append(Problem(name, str(error)))
            continue
        wanted = kind.row_kinds.get(name)
        if wanted and version.dataset.kind not in wanted:
            problems.append(
                Problem(
                    name, f"{reference} holds {version.dataset.kind} rows; it must hold {' or '.join(wanted)} rows."
                )
            )
        problems += _find_withdrawn(name, version)
        fixed[name] = version.reference
        allowed[version.reference] = set(version.uses)
    for name in endpoint_fields(kind.config_class):
        slug = getattr(checked, name)
        if not slug:
            continue
        row = TeacherEndpoint.objects.filter(project=project, slug=slug).first()
        if row is None:
            problems.append(Problem(name, f"The project has no endpoint {slug}; make it under Build data, Endpoints."))
        elif not row.uses:
            problems.append(
                Problem(name, f"The terms of {slug} allow no use of what it writes; correct them, or choose another.")
            )
        else:
            allowed[f"endpoint {slug}"] = set(row.uses)
    if allowed and not set.intersection(*allowed.values()):
        told = "; ".join(f"{name} allows {', '.join(sorted(uses)) or 'nothing'}" for name, uses in allowed.items())
        problems.append(Problem("", f"Nothing could be done with the result: {told}. Choose others."))
    if kind.needs_sandbox and find_endpoint() is None:
        problems.append(
            Problem(
                "",
                "This build runs written functions in the tool sandbox, and none is set up; start one with "
                "`chanote up`, or name it in CHANOTE_SANDBOX_URL.",
            )
        )
    checked = checked.model_copy(update=fixed)
    problems += [Problem(field, words) for field, words in kind.check(checked, project=project).items()]
    if problems:
        raise BuildRefused(problems)
    return checked


def _find_withdrawn(field: str, version: DatasetVersion) -> list[Problem]:
    """Why nothing may be built of the version any more. What rights allow besides passes on to the result."""
    taken_back = [one for one in judge_version(version, Use.TRAIN).refusals if one.rule.startswith("withdrawn")]
    standing = explain_refusal(version, Use.EVALUATE)
    return [Problem(field, one.message) for one in taken_back] + ([Problem(field, standing)] if standing else [])


def _check_endpoint(row: TeacherEndpoint, key: str | None) -> None:
    problems = []
    try:
        row.full_clean(exclude=["project", "created_by", "uses"])
    except ValidationError as error:
        for field, sentences in error.message_dict.items():
            problems += [Problem("" if field == "__all__" else field, sentence) for sentence in sentences]
    for field in ("seconds", "prompt_price", "completion_price", "most_money"):
        if (number := getattr(row, field)) is not None and not math.isfinite(number):
            problems.append(Problem(field, "It is no finite number."))
    if wrong := [use for use in row.uses if use not in Use.values]:
        problems.append(Problem("uses", f"The use {wrong[0]!r} is not known; use {', '.join(Use.values)}."))
    if key and not KEY.match(key):
        problems.append(Problem("key", "A key has no spaces and only ASCII letters, digits and signs."))
    if problems:
        raise BuildRefused(problems)
