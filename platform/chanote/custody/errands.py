"""Exports and releases as errands: they outlive the web server and show how far they are."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.urls import reverse

from chanote.accounts.models import User
from chanote.custody.bundle import KeyRefused
from chanote.custody.exporting import ExportRefused, export_bundle
from chanote.custody.models import BundleExport, Package, Subject
from chanote.custody.packages import PackageRefused
from chanote.custody.quarantine import release_package
from chanote.custody.signing import open_own_key
from chanote.datasets.models import DatasetVersion
from chanote.errands.kinds import errand
from chanote.errands.work import Work, WorkRefused
from chanote.models.models import Model

MIB = 1 << 20


@errand("custody.export", permission="custody.export")
def export(work: Work) -> dict[str, Any]:
    """`config`: kind and the key of the model or version. The bundle is kept to be downloaded."""
    if not isinstance(work.actor, User):
        raise WorkRefused("An export needs a person who asked for it.")
    target = Path(settings.HOME) / "exports" / f"{work.errand.pk}.tar"
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = BundleExport.objects.filter(project=work.project, path=str(target.resolve())).first()
    if made is None:
        # Left by a process that was killed between the file and its record.
        target.unlink(missing_ok=True)

        def report(done: int, total: int, name: str) -> None:
            work.report(done // MIB, max(total // MIB, 1), f"{name}, MiB")

        try:
            if work.config["kind"] == Subject.MODEL:
                subject: Model | DatasetVersion = Model.objects.get(project=work.project, pk=work.config["subject"])
            else:
                versions = DatasetVersion.objects.select_related("dataset__project")
                subject = versions.get(dataset__project=work.project, pk=work.config["subject"])
            made = export_bundle(subject, target, key=open_own_key(), actor=work.actor, kept=True, report=report)
        except (ExportRefused, KeyRefused) as refused:
            raise WorkRefused(str(refused)) from refused
        except (Model.DoesNotExist, DatasetVersion.DoesNotExist) as error:
            raise WorkRefused("What was to be exported is gone.") from error
    link = reverse("bundle_download", args=[work.project.slug, made.pk])
    return {"link": link, "manifest_sha256": made.manifest_sha256, "fingerprint": made.fingerprint}


@errand("custody.release", permission="custody.release")
def release(work: Work) -> dict[str, Any]:
    package = Package.objects.select_related("project", "decided_by").get(
        project=work.project, pk=work.config["package"]
    )
    try:
        version = release_package(package, report=lambda done, total: work.report(done, total, "rows"))
    except PackageRefused as refused:
        raise WorkRefused(str(refused)) from refused
    return {"link": f"{version.dataset.get_absolute_url()}?version={version.number}", "version": version.reference}
