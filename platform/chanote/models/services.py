"""Every write about models."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.text import slugify

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.datasets.models import Use
from chanote.models.errors import ModelRefused, NoCheckpoint
from chanote.models.hub import find_snapshot
from chanote.models.models import Model, Origin
from chanote.models.reading import CheckpointFacts, read_checkpoint
from chanote.models.teachers import inherit_licence
from chanote.rights.licences import is_non_commercial
from chanote.runs.models import Checkpoint, Run
from trainer.contract.hashing import hash_directory

__all__ = ["ModelRefused", "describe_model", "register_checkpoint", "register_directory", "register_hub_model"]

UNKNOWN_LICENCE = "LicenseRef-unknown"


def register_directory(
    *,
    project: Project,
    slug: str,
    path: str | Path,
    title: str = "",
    licence: str = "",
    description: str = "",
    parent: Model | None = None,
    uses: Sequence[str] | None = None,
    non_commercial: bool = False,
    terms: str = "",
    actor: Any,
) -> Model:
    """Register a Hugging Face checkpoint that lies in a directory of this machine; its files stay where they are.
    `uses` are what its terms allow, everything when None.

    Raises ModelRefused for what is no checkpoint. An `actor` of None is the platform itself.
    """
    _allow(actor, project)
    directory = _find_directory(path)
    facts = _read_facts(directory, "path")
    return _add_model(
        facts,
        project=project,
        slug=slug,
        title=title,
        origin=Origin.DIRECTORY,
        location=str(directory),
        sha256=hash_directory(directory),
        licence=licence or facts.licence or (parent.licence if parent else "") or UNKNOWN_LICENCE,
        description=description,
        parent=parent,
        uses=uses,
        non_commercial=non_commercial,
        terms=terms,
        actor=actor,
    )


def register_hub_model(
    *,
    project: Project,
    slug: str,
    hub_name: str,
    revision: str = "main",
    title: str = "",
    licence: str = "",
    description: str = "",
    uses: Sequence[str] | None = None,
    non_commercial: bool = False,
    terms: str = "",
    actor: Any,
) -> Model:
    """Register a hub model that is in the cache of this machine, at the commit that lies there."""
    _allow(actor, project)
    snapshot = find_snapshot(hub_name, revision)
    facts = _read_facts(snapshot, "hub_name")
    return _add_model(
        facts,
        project=project,
        slug=slug,
        title=title or hub_name,
        origin=Origin.HUB,
        location=str(snapshot),
        sha256=hash_directory(snapshot),
        licence=licence or facts.licence or UNKNOWN_LICENCE,
        description=description,
        parent=None,
        uses=uses,
        non_commercial=non_commercial,
        terms=terms,
        actor=actor,
    )


@transaction.atomic
def register_checkpoint(checkpoint: Checkpoint, *, actor: Any = None) -> Model:
    """Make a checkpoint a model of its run's project: the base is its parent, base and teachers give the licence.

    The same checkpoint gives the same model. Raises ModelRefused where its files are gone. Asks for no permission,
    since the platform does it for every finished stage: who offers it to people asks before.
    """
    # Under a lock, since an evaluation and a person may both make it a model.
    checkpoint = (
        Checkpoint.objects.select_for_update(of=("self",)).select_related("run", "attempt").get(pk=checkpoint.pk)
    )
    run = checkpoint.run
    if checkpoint.model is not None:
        return checkpoint.model
    model = Model.objects.filter(
        project=run.project, sha256=checkpoint.sha256, origin=Origin.RUN, checkpoint__isnull=True
    ).first()
    if model is None:
        directory = find_model_directory(checkpoint)
        if checkpoint.removed or directory is None:
            raise ModelRefused(
                "checkpoint", f"The files of {checkpoint} were removed to save space; choose a checkpoint that is kept."
            )
        facts = _read_facts(directory, "checkpoint")
        base = run.base
        model = _add_model(
            facts,
            project=run.project,
            slug=free_slug(run.project, f"{name_policy(run)}-step-{checkpoint.step}"),
            title=f"{run.name}, step {checkpoint.step:,}",
            origin=Origin.RUN,
            location=str(directory),
            sha256=checkpoint.sha256,
            licence=inherit_licence(run, last_stage=checkpoint.stage) or UNKNOWN_LICENCE,
            description="",
            parent=base,
            actor=actor,
        )
    checkpoint.model = model
    checkpoint.save(update_fields=["model"])
    return model


def name_policy(run: Run) -> str:
    """The run's name with its number, once: runs that were given no name carry it already."""
    name = slugify(run.name) or "run"
    return name if name.endswith(f"-{run.number}") else f"{name}-{run.number}"


def find_model_directory(checkpoint: Checkpoint) -> Path | None:
    """Where the weights of a checkpoint lie: `model/` in it, or the checkpoint's directory itself."""
    directory = Path(checkpoint.directory)
    if not directory.is_absolute():
        directory = Path(checkpoint.attempt.directory) / directory
    return next((place for place in (directory / "model", directory) if (place / "config.json").is_file()), None)


@transaction.atomic
def describe_model(
    model: Model,
    *,
    title: str,
    description: str,
    licence: str,
    uses: Sequence[str] | None = None,
    non_commercial: bool | None = None,
    terms: str | None = None,
    actor: Any,
) -> Model:
    """Change the words about a model and the terms it is under; its files and its lineage never change.

    Terms that are None stay. Who may not decide on rights may only narrow them. Raises ModelRefused, PermissionDenied.
    """
    require(actor, "models.register", model.project)
    model = Model.objects.select_for_update().get(pk=model.pk)
    names = ("licence", "uses", "non_commercial", "terms")
    before = {name: getattr(model, name) for name in names}
    model.title, model.description, model.licence = title, description, licence
    if uses is not None:
        model.uses = _sort_uses(uses)
    if non_commercial is not None:
        model.non_commercial = non_commercial
    if terms is not None:
        model.terms = terms
    if set(model.uses) - set(before["uses"]) or (before["non_commercial"] and not model.non_commercial):
        require(actor, "rights.decide", model.project)
    model.full_clean(exclude=["parent", "created_by"])
    model.save(update_fields=["title", "description", *names])
    after = {name: getattr(model, name) for name in names}
    changed = {name: value for name, value in after.items() if value != before[name]}
    record(
        "model.described",
        model,
        actor=actor,
        title=title,
        licence=licence,
        licence_before=before["licence"],
        changed=changed,
        before={name: before[name] for name in changed},
    )
    return model


def _sort_uses(uses: Sequence[str]) -> list[str]:
    if unknown := [use for use in uses if use not in Use.values]:
        raise ModelRefused("uses", f"The use {unknown[0][:40]!r} is not known; use {', '.join(Use.values)}.")
    return [use for use in Use.values if use in uses]


def free_slug(project: Project, wanted: str) -> str:
    """`wanted`, or with the next number where the project already has a model of that name."""
    wanted = wanted.strip("-_")[:110] or "model"
    taken = set(Model.objects.filter(project=project, slug__startswith=wanted).values_list("slug", flat=True))
    if wanted not in taken:
        return wanted
    return next(name for number in range(2, len(taken) + 3) if (name := f"{wanted}-{number}") not in taken)


def _allow(actor: Any, project: Project) -> None:
    if actor is not None:
        require(actor, "models.register", project)


def _find_directory(path: str | Path) -> Path:
    directory = Path(path).expanduser()
    if not directory.is_absolute():
        raise ModelRefused("path", f"{path} is not an absolute path; write it from the root of the machine.")
    if not directory.is_dir() or not os.access(directory, os.R_OK | os.X_OK):
        raise ModelRefused("path", f"{path} is no directory that the platform can read.")
    return directory.resolve()


def _read_facts(directory: Path, field: str) -> CheckpointFacts:
    try:
        return read_checkpoint(directory)
    except NoCheckpoint as error:
        raise ModelRefused(field, f"{directory} {error}.") from error
    except OSError as error:
        raise ModelRefused(field, f"{directory} cannot be read: {error.strerror}.") from error


@transaction.atomic
def _add_model(
    facts: CheckpointFacts,
    *,
    project: Project,
    slug: str,
    title: str,
    origin: Origin,
    location: str,
    sha256: str,
    licence: str,
    description: str,
    parent: Model | None,
    uses: Sequence[str] | None = None,
    non_commercial: bool = False,
    terms: str = "",
    actor: Any,
) -> Model:
    if Model.objects.filter(project=project, slug=slug).exists():
        raise ModelRefused("slug", f"The project already has a model named {slug}; choose another name.")
    if parent is not None and parent.project_id != project.pk:
        raise ModelRefused("parent", f"{parent} belongs to another project; register it here first.")
    model = Model(
        project=project,
        slug=slug,
        title=title or slug,
        origin=origin,
        location=location,
        sha256=sha256,
        bytes=facts.bytes,
        parameters=facts.parameters,
        context_length=facts.context_length,
        vocabulary=facts.vocabulary,
        architecture=facts.architecture,
        licence=licence,
        description=description,
        parent=parent,
        uses=_sort_uses(Use.values if uses is None else uses),
        non_commercial=non_commercial or is_non_commercial(licence),
        terms=terms,
        created_by=actor,
    )
    try:
        model.full_clean(exclude=["project", "parent", "created_by"])
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise ModelRefused(field, f"{field.capitalize()}: {messages[0]}") from error
    model.save()
    record(
        "model.registered",
        model,
        actor=actor,
        origin=str(origin),
        sha256=sha256,
        location=location,
        licence=licence,
        uses=model.uses,
        non_commercial=model.non_commercial,
    )
    return model
