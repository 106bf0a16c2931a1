"""Signed bundles of models and dataset versions: rights asked, everything they depend on named, the export recorded."""

import hashlib
import json
import shutil
from collections.abc import Callable
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


def export_model(
    model: Model,
    target: Path,
    *,
    key: Ed25519PrivateKey,
    actor: Any,
    kept: bool = False,
    report: Report | None = None,
) -> BundleExport:
    """Write a signed bundle of a model, a directory or a .tar. Raises ExportRefused, PermissionDenied, OSError."""
    require(actor, "custody.export", model.project)
    ask_rights(model)
    parts, left_out = list_weights(model)
    facts = gather_facts(model)
    made = timezone.now().isoformat(timespec="seconds")
    for name, text in write_cards(facts, made=made).items():
        parts.append(Part(name, content=text.encode()))
    parts.append(Part("facts.json", content=write_json(facts)))
    parts += list_trainings(model, facts)
    about = {
        "kind": "model",
        "name": f"{model.project.slug}/{model.slug}",
        "made": made,
        "code": describe_code(),
        "audit_head": read_head(),
        "model_sha256": model.sha256,
        "left_out": left_out,
        "inputs": {name: facts[name] for name in ("models", "trainings")}
        | {"datasets": [{name: one[name] for name in ("reference", "sha256", "rows")} for one in facts["data"]]},
    }
    return _write(model, Subject.MODEL, model.slug, model.sha256, target, parts, about, key, actor, kept, report)


def export_dataset(
    version: DatasetVersion,
    target: Path,
    *,
    key: Ed25519PrivateKey,
    actor: Any,
    kept: bool = False,
    report: Report | None = None,
) -> BundleExport:
    """Write a signed transfer package of a dataset version. Raises ExportRefused, PermissionDenied, OSError."""
    require(actor, "custody.export", version.project)
    ask_rights(version)
    try:
        check_content(version)
    except StoreError as error:
        raise ExportRefused(Problem("", str(error))) from error
    dataset = version.dataset
    about = {
        "kind": "dataset",
        "name": f"{version.project.slug}/{version.reference}",
        "made": timezone.now().isoformat(timespec="seconds"),
        "code": describe_code(),
        "audit_head": read_head(),
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
    return _write(
        version, Subject.DATASET, version.reference, version.sha256, target, parts, about, key, actor, kept, report
    )


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


def _write(
    subject: Model | DatasetVersion,
    kind: Subject,
    name: str,
    content_sha256: str,
    target: Path,
    parts: list[Part],
    about: dict[str, Any],
    key: Ed25519PrivateKey,
    actor: Any,
    kept: bool,
    report: Report | None,
) -> BundleExport:
    try:
        manifest = write_bundle(target, parts, json.loads(json.dumps(about, default=str)), key, report=report)
    except BundleRefused as refused:
        raise ExportRefused(*(Problem("", fault) for fault in refused.faults)) from refused
    try:
        with transaction.atomic():
            # Rights may have changed while it was written.
            ask_rights(subject)
            export = BundleExport.objects.create(
                project=subject.project,
                kind=kind,
                name=name,
                content_sha256=content_sha256,
                manifest_sha256=hashlib.sha256(write_json(manifest)).hexdigest(),
                key=key.public_key().public_bytes_raw().hex(),
                bytes=sum(facts["bytes"] for facts in manifest["files"].values()),
                path=str(target.resolve()),
                kept=kept,
                created_by=actor,
            )
            record(
                f"{kind}.exported",
                subject,
                actor=actor,
                content_sha256=content_sha256,
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
