"""Transfer packages from their arrival to a decision. Until somebody else than the uploader has released a package,
no dataset version holds its rows: there is nothing that could be trained on."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from chanote.accounts.models import Project
from chanote.accounts.roles import require
from chanote.audit.services import record
from chanote.custody.bundle import BundleRefused, VerifiedBundle, pack_bundle, verify_bundle
from chanote.custody.bundle.form import write_json
from chanote.custody.models import Package, State
from chanote.custody.packages import (
    PackageRefused,
    PackageTold,
    compare_rows,
    find_newest,
    refuse,
    source_of_rows,
)
from chanote.custody.trust import find_key_owner
from chanote.datasets.errors import ImportRefused
from chanote.datasets.making import make_version
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import check_space
from chanote.errands.models import Errand
from chanote.errands.services import start_errand
from chanote.rights.models import Source, WithdrawnRow
from chanote.rights.sources import create_source, find_wider_uses, free_slug
from chanote.web.problems import Problem

LONGEST_REASON = 2000


def receive_package(*, project: Project, file: BinaryIO | Path, actor: Any) -> Package:
    """Verify a package, a .tar or from the command line a directory, and keep it in quarantine.

    Raises PackageRefused with every fault; then nothing is kept.
    """
    require(actor, "custody.release", project)
    place = uuid4()
    folder = Path(settings.HOME) / "quarantine"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    incoming = folder / f"{place}.incoming"
    try:
        check_space()
        _keep(file, incoming)
        bundle = verify_bundle(incoming)
        told = PackageTold(bundle)
        difference = compare_rows(told, find_newest(told, project), project)
        incoming.chmod(0o440)
        incoming.rename(folder / f"{place}.tar")
        try:
            return _add_package(project, place, bundle, told, difference, actor)
        except BaseException:
            (folder / f"{place}.tar").unlink(missing_ok=True)
            raise
    except (BundleRefused, ImportRefused) as refused:
        faults = refused.faults if isinstance(refused, BundleRefused) else [str(refused)]
        raise PackageRefused(*(Problem("file", fault) for fault in faults)) from refused
    except OSError as error:
        raise refuse(f"The package cannot be read or kept: {error.strerror or error}.", "file") from error
    finally:
        incoming.unlink(missing_ok=True)


def _keep(file: BinaryIO | Path, target: Path) -> None:
    if isinstance(file, Path) and file.is_dir() and not file.is_symlink():
        pack_bundle(verify_bundle(file), target)
        return
    if isinstance(file, Path):
        with file.open("rb") as opened:
            _keep(opened, target)
        return
    with target.open("xb") as kept:
        copied = 0
        while block := file.read(1 << 20):
            kept.write(block)
            copied += len(block)
            if copied % (1 << 28) < len(block):
                check_space()
        kept.flush()
        os.fsync(kept.fileno())


@transaction.atomic
def _add_package(
    project: Project, place: Any, bundle: VerifiedBundle, told: PackageTold, difference: dict[str, Any], actor: Any
) -> Package:
    manifest = {name: value for name, value in bundle.manifest.items() if name != "files"}
    manifest["sources"] = [source.model_dump(mode="json") for source in told.sources]
    try:
        with transaction.atomic():
            package = Package.objects.create(
                project=project,
                place=place,
                name=bundle.manifest["name"],
                manifest=manifest,
                manifest_sha256=hashlib.sha256(write_json(bundle.manifest)).hexdigest(),
                key=bundle.key.hex(),
                rows=told.version.rows,
                bytes=bundle.size,
                difference=difference,
                uploaded_by=actor,
            )
    except IntegrityError:
        raise refuse("This very package waits in the quarantine already; decide about that one.", "file") from None
    record(
        "package.received",
        package,
        actor=actor,
        manifest_sha256=package.manifest_sha256,
        fingerprint=package.fingerprint,
        rows=package.rows,
    )
    return package


def reject_package(package: Package, *, reason: str, actor: Any) -> Package:
    """Keep a package out for good; its file is removed, its record stays."""
    reason = _check_decision(package, reason, actor)
    with transaction.atomic():
        _decide(package, State.REJECTED, reason, actor)
        record("package.rejected", package, actor=actor, reason=reason)
        transaction.on_commit(lambda: package.path.unlink(missing_ok=True))
    return package


def accept_package(package: Package, *, reason: str, actor: Any) -> Errand:
    """Let a package in: an errand makes a draft version of its rows, with their sources and rights."""
    reason = _check_decision(package, reason, actor)
    if not find_key_owner(package.project, package.key):
        raise refuse(
            f"The key {package.fingerprint} is not known here; an admin of the project must accept it first.", "key"
        )
    with transaction.atomic():
        _decide(package, State.RELEASING, reason, actor)
        record("package.accepted", package, actor=actor, reason=reason)
        return start_errand(
            "custody.release",
            project=package.project,
            actor=actor,
            config={"package": package.pk},
            title=f"Release {package.name}",
            subject=package,
        )


def _check_decision(package: Package, reason: str, actor: Any) -> str:
    require(actor, "custody.release", package.project)
    if actor.pk == package.uploaded_by_id:
        raise refuse("You brought this package in, so somebody else must decide about it.")
    reason = reason.strip()
    if not 1 <= len(reason) <= LONGEST_REASON or "\0" in reason:
        raise refuse(f"Give a reason, in at most {LONGEST_REASON:,} characters.", "reason")
    return reason


def _decide(package: Package, state: State, reason: str, actor: Any) -> None:
    """Of two decisions at once one holds."""
    now = timezone.now()
    decided = Package.objects.filter(pk=package.pk, state=State.WAITING).update(
        state=state, decided=now, decided_by=actor, reason=reason, fault=""
    )
    if not decided:
        package.refresh_from_db()
        raise refuse(f"This package is {package.get_state_display()} already.")
    package.refresh_from_db()


def release_package(package: Package, *, report: Callable[[int, int], None] | None = None) -> DatasetVersion:
    """Make a version of an accepted package's rows; the work of the errand, which may do it again after a kill.

    Raises PackageRefused and ImportRefused; the package then waits again.
    """
    if package.state == State.RELEASED and package.version is not None:
        return package.version
    if package.state != State.RELEASING:
        raise refuse(f"This package is {package.get_state_display()}; somebody must accept it first.")
    actor = package.decided_by
    try:
        version = _make_version(package, actor, report)
    except (PackageRefused, ImportRefused, BundleRefused, OSError) as error:
        with transaction.atomic():
            Package.objects.filter(pk=package.pk, state=State.RELEASING).update(
                state=State.WAITING, decided=None, decided_by=None, fault=str(error)[:2000]
            )
            record("package.release_failed", package, actor=actor, fault=str(error)[:500])
        raise error if isinstance(error, PackageRefused | ImportRefused) else refuse(str(error)) from error
    with transaction.atomic():
        Package.objects.filter(pk=package.pk, state=State.RELEASING).update(state=State.RELEASED, version=version)
        record("package.released", package, actor=actor, version=version.reference, sha256=version.sha256)
    package.refresh_from_db()
    return version


def _make_version(package: Package, actor: Any, report: Callable[[int, int], None] | None) -> DatasetVersion:
    told = PackageTold(verify_bundle(package.path, public_key=bytes.fromhex(package.key)))
    project = package.project
    _check_withdrawn(told, project)
    if (wider := find_wider_uses(project, told.version.sha256, told.version.uses, actor)) is not None:
        raise refuse(
            f"{wider[0]} holds the very same rows and does not allow {', '.join(wider[1])}; a package must not "
            "widen that."
        )
    with transaction.atomic():
        sources = {one.slug: _bring_source(project, one.model_dump(), package, actor) for one in told.sources}
        rest = None
        if sum(stop - start for _, start, stop in told.spans) < told.version.rows:
            facts = {
                "title": f"{told.dataset.title or told.dataset.slug}, source not told"[:160],
                "licence": told.version.licence,
                "uses": told.version.uses,
                "non_commercial": told.version.non_commercial,
                "origin": told.version.source,
            }
            rest = _bring_source(project, {"slug": told.dataset.slug, **facts}, package, actor)
    keys = {slug: source.pk for slug, source in sources.items()}

    def read_rows() -> Any:
        owners = source_of_rows(told.spans, keys, rest.pk if rest else 0)
        for number, (line, owner) in enumerate(zip(told.read_lines(), owners, strict=False), start=1):
            if report and number % 1000 == 0:
                report(number, told.version.rows)
            yield json.loads(line), owner

    return make_version(
        project=project,
        slug=told.dataset.slug,
        kind=told.dataset.kind,
        title=told.dataset.title,
        rows=read_rows(),
        drawn_from=[],
        operation={
            "name": "package",
            "from": package.name,
            "manifest_sha256": package.manifest_sha256,
            "key": package.key,
            "package": package.pk,
        },
        reason=f"Package {package.name}: {package.reason}"[:500],
        uses=told.version.uses,
        licence=told.version.licence,
        non_commercial=told.version.non_commercial,
        source=f"Transfer package {package.name}, key {package.fingerprint}. {told.version.source}".strip(),
        languages=told.dataset.languages,
        actor=actor,
    )


def _check_withdrawn(told: PackageTold, project: Project) -> None:
    """What its owner took back here does not come in again by another door."""
    withdrawn = Source.objects.filter(project=project, withdrawn__isnull=False)
    alike = Q(slug__in=[one.slug for one in told.sources])
    for one in told.sources:
        alike |= Q(title=one.title, owner=one.owner)
    for source in withdrawn.filter(alike):
        raise refuse(f"The source {source.slug} was withdrawn here; rows from it must not come back.", "sources")
    marks = set(WithdrawnRow.objects.filter(project=project).values_list("length", "sha256"))
    lengths = {length for length, _ in marks}
    if marks:
        for number, line in enumerate(told.read_lines(), start=1):
            if len(line) - 1 in lengths and (len(line) - 1, hashlib.sha256(line[:-1]).hexdigest()) in marks:
                raise refuse(f"Row {number:,} was withdrawn here and must not come back.", "rows")


def _bring_source(project: Project, facts: dict[str, Any], package: Package, actor: Any) -> Source:
    """The source of these facts: one that is here with exactly the same, or a new one."""
    wanted = facts.pop("slug")
    origin = f"{facts.pop('origin', '')}\nTransfer package {package.name}, key {package.fingerprint}.".strip()
    for alike in Source.objects.filter(project=project, origin=origin, withdrawn=None):
        if all(_tell(getattr(alike, name)) == value for name, value in facts.items()):
            return alike
    return create_source(project=project, slug=free_slug(project, wanted), actor=actor, origin=origin, **facts)


def _tell(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
