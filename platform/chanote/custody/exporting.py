"""Signed bundles of models and dataset versions: rights asked, everything they depend on named, the export recorded."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import transaction
from django.utils import timezone

from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.audit.verifying import read_head
from chanote.custody.bundle import BundleRefused, Part, write_bundle
from chanote.custody.bundle.form import write_json
from chanote.custody.cards import write_cards
from chanote.custody.evidence import gather_evidence
from chanote.custody.facts import describe_source, describe_version, gather_facts
from chanote.custody.models import BundleExport, Subject
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import StoreError, check_content, version_path
from chanote.models.errors import NoCheckpoint
from chanote.models.models import Model
from chanote.models.reading import PICKLED, read_checkpoint
from chanote.rights.models import Source, SourceSpan
from chanote.rights.rules import check_export
from chanote.runs.freezing import describe_code
from chanote.runs.models import Run
from chanote.web.problems import Problem
from trainer.contract.hashing import hash_file, hash_listing, list_files

Report = Callable[[int, int, str], None]


class ExportRefused(ValueError):
    """Nothing left the house; `problems` say why."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = list(problems)
        super().__init__(" ".join(problem.message for problem in problems))


def ask_rights(subject: Model | DatasetVersion) -> None:
    """Raise ExportRefused unless the rules on rights let it leave the house."""
    if refusals := check_export(subject):
        raise ExportRefused(*refusals)


@dataclass(frozen=True)
class Content:
    """What a bundle is to hold, and what its manifest says of it."""

    kind: Subject
    name: str
    sha256: str
    parts: list[Part]
    about: dict[str, Any]


def export_bundle(
    subject: Model | DatasetVersion,
    target: Path,
    *,
    key: Ed25519PrivateKey,
    actor: Any,
    kept: bool = False,
    report: Report | None = None,
) -> BundleExport:
    """Write a signed bundle of a model or a signed transfer package of a dataset version, a directory or a .tar.

    Raises ExportRefused, PermissionDenied, OSError.
    """
    require(actor, "custody.export", subject.project)
    ask_rights(subject)
    made = timezone.now().isoformat(timespec="seconds")
    content = gather_model(subject, made=made) if isinstance(subject, Model) else gather_dataset(subject)
    about = {
        "kind": str(content.kind),
        "name": f"{subject.project.slug}/{content.name}",
        "made": made,
        "code": describe_code(),
        "audit_head": read_head(),
        **content.about,
    }
    try:
        manifest = write_bundle(target, content.parts, json.loads(json.dumps(about, default=str)), key, report=report)
    except BundleRefused as refused:
        raise ExportRefused(*(Problem("", fault) for fault in refused.faults)) from refused
    return _record(subject, content, manifest, target, key, actor, kept)


def gather_model(model: Model, *, made: str) -> Content:
    """Weights, cards and the runs that a model came out of. Raises ExportRefused."""
    parts, left_out = list_weights(model)
    facts = gather_facts(model)
    for name, text in write_cards(facts, made=made).items():
        parts.append(Part(name, content=text.encode()))
    parts.append(Part("facts.json", content=write_json(facts)))
    parts += list_trainings(model, facts)
    about = {
        "model_sha256": model.sha256,
        "left_out": left_out,
        "inputs": {name: facts[name] for name in ("models", "trainings")}
        | {"datasets": [{name: one[name] for name in ("reference", "sha256", "rows")} for one in facts["data"]]},
    }
    return Content(Subject.MODEL, model.slug, model.sha256, parts, about)


def gather_dataset(version: DatasetVersion) -> Content:
    """Rows, sources, statistics and evidence of a version. Raises ExportRefused."""
    try:
        check_content(version)
    except StoreError as error:
        raise ExportRefused(Problem("", str(error))) from error
    dataset = version.dataset
    about = {
        "dataset": {
            "slug": dataset.slug,
            "title": dataset.title,
            "kind": dataset.kind,
            "description": dataset.description,
            "languages": dataset.languages,
        },
        "version": {
            **{
                name: getattr(version, name)
                for name in ("number", "sha256", "rows", "licence", "uses", "non_commercial", "source", "reason")
            },
            "operation": version.operation,
            "created": version.created.isoformat(timespec="seconds"),
        },
        "inputs": {
            "parent": name_version(version.parent) if version.parent else None,
            "drawn_from": [name_version(one) for one in version.drawn_from.select_related("dataset")],
        },
    }
    parts = [
        Part("rows.jsonl", path=version_path(version)),
        Part("sources.json", content=write_json(list_sources(version))),
        Part("statistics.json", content=write_json(version.statistics)),
        Part("facts.json", content=write_json(describe_version(version))),
        *(Part(name, content=content) for name, content in gather_evidence(version).items()),
    ]
    return Content(Subject.DATASET, version.reference, version.sha256, parts, about)


def list_weights(model: Model) -> tuple[list[Part], dict[str, str]]:
    """The files of a model below `model/`, and those that stay at home: pickles can run code where they are opened."""
    if not model.sha256:
        raise ExportRefused(
            Problem("", f"{model.slug} is known by imported results only; register its files, then export it.")
        )
    directory = Path(model.location)
    try:
        read_checkpoint(directory)
        hashes = {name: hash_file(directory / name) for name in list_files(directory)}
    except (NoCheckpoint, OSError) as error:
        raise ExportRefused(Problem("", f"The files of {model.slug} cannot be taken: {directory} {error}.")) from error
    if hash_listing(hashes) != model.sha256:
        raise ExportRefused(
            Problem("", f"The files of {model.slug} at {directory} are not those that were registered; restore them.")
        )
    left_out = {name: sha256 for name, sha256 in hashes.items() if any(Path(name).match(one) for one in PICKLED)}
    return [Part(f"model/{name}", path=directory / name) for name in hashes if name not in left_out], left_out


def list_trainings(model: Model, facts: dict[str, Any]) -> list[Part]:
    """Recipe and frozen specification of each run that the model came out of."""
    parts = []
    for training in facts["trainings"]:
        run = Run.objects.select_related("revision").get(project=model.project, number=training["run"])
        folder = f"training/run-{run.number}"
        parts.append(Part(f"{folder}/recipe.yaml", content=run.revision.yaml.encode()))
        parts.append(Part(f"{folder}/spec.json", content=write_json(run.snapshot)))
    return list({part.name: part for part in parts}.values())


def list_sources(version: DatasetVersion) -> dict[str, Any]:
    """Sources of a version, and its spans as `[source, start, stop]` (rows from 0, stop not included)."""
    spans = list(
        SourceSpan.objects.filter(version=version).order_by("start").values_list("source__slug", "start", "stop")
    )
    sources = Source.objects.filter(spans__version=version).distinct()
    return {"sources": [describe_source(one) for one in sources], "spans": [list(span) for span in spans]}


def name_version(version: DatasetVersion) -> dict[str, Any]:
    return {"reference": version.reference, "sha256": version.sha256, "rows": version.rows}


def _record(
    subject: Model | DatasetVersion,
    content: Content,
    manifest: dict[str, Any],
    target: Path,
    key: Ed25519PrivateKey,
    actor: Any,
    kept: bool,
) -> BundleExport:
    """Write the export down, or take the files away again."""
    try:
        with transaction.atomic():
            # Rights may have changed while it was written.
            ask_rights(subject)
            export = BundleExport.objects.create(
                project=subject.project,
                kind=content.kind,
                name=content.name,
                content_sha256=content.sha256,
                manifest_sha256=hashlib.sha256(write_json(manifest)).hexdigest(),
                key=key.public_key().public_bytes_raw().hex(),
                bytes=sum(facts["bytes"] for facts in manifest["files"].values()),
                path=str(target.resolve()),
                kept=kept,
                created_by=actor,
            )
            record(
                f"{content.kind}.exported",
                subject,
                actor=actor,
                content_sha256=content.sha256,
                manifest_sha256=export.manifest_sha256,
                fingerprint=export.fingerprint,
                bytes=export.bytes,
                path=export.path,
            )
    except BaseException:
        # What is not in the log must not stay.
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        raise
    return export
