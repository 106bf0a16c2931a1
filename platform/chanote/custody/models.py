"""What left the house in signed bundles, whose keys are trusted, and what waits in quarantine."""

from pathlib import Path
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from chanote.accounts.models import Project
from chanote.accounts.visibility import VisibleQuerySet
from chanote.custody.bundle.keys import name_key
from chanote.datasets.models import DatasetVersion


class Subject(models.TextChoices):
    MODEL = "model", "model"
    DATASET = "dataset", "dataset"


class BundleExport(models.Model):
    """A signed bundle that was made here."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="bundle_exports")
    kind = models.CharField(max_length=8, choices=Subject.choices)
    name = models.CharField(max_length=200)
    """Of the model, or of the dataset version as `slug@number`."""
    content_sha256 = models.CharField(max_length=64, db_index=True)
    """Hash of the model's files, or of the version's rows."""
    manifest_sha256 = models.CharField(max_length=64)
    key = models.CharField(max_length=64)
    """Public key of the signature, in hexadecimal."""
    bytes = models.PositiveBigIntegerField()
    """Of all files named in the manifest."""
    path = models.CharField(max_length=1000)
    kept = models.BooleanField(default=False)
    """Below the platform's home, to be downloaded; else it was written where a person at the machine wanted it."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"bundle of {self.name}"

    @property
    def fingerprint(self) -> str:
        return name_key(bytes.fromhex(self.key))

    @property
    def file(self) -> Path | None:
        """The file to download, while it is there."""
        path = Path(self.path)
        return path if self.kept and path.is_file() else None


class TrustedKey(models.Model):
    """A public key whose packages a project takes."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="trusted_keys")
    key = models.CharField(max_length=64)
    """In hexadecimal."""
    owner = models.CharField(max_length=200)
    """Whose key it is, as the person who accepted it made sure."""
    accepted = models.DateTimeField(auto_now_add=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["owner"]
        constraints = [models.UniqueConstraint(fields=["project", "key"], name="key_trusted_once_in_project")]

    def __str__(self) -> str:
        return f"{self.owner} ({self.fingerprint[:9]})"

    @property
    def fingerprint(self) -> str:
        return name_key(bytes.fromhex(self.key))


class State(models.TextChoices):
    WAITING = "waiting", "waiting"
    RELEASING = "releasing", "being released"
    """Somebody accepted it, and its rows are on their way into a version."""
    RELEASED = "released", "released"
    REJECTED = "rejected", "rejected"


class Package(models.Model):
    """A transfer package in quarantine. Until it is released no dataset version holds its rows."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="packages")
    place = models.UUIDField(default=uuid4, unique=True, editable=False)
    """Name of its file in the quarantine."""
    name = models.CharField(max_length=240)
    """As its maker calls it."""
    manifest = models.JSONField(default=dict)
    """Without the list of files."""
    manifest_sha256 = models.CharField(max_length=64)
    key = models.CharField(max_length=64)
    rows = models.PositiveBigIntegerField()
    bytes = models.PositiveBigIntegerField()
    difference = models.JSONField(default=dict)
    """What of it is inside already, as `quarantine.compare_rows` found it when it came."""
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    uploaded = models.DateTimeField(auto_now_add=True)
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    reason = models.TextField(blank=True)
    """Of the decision."""
    fault = models.TextField(blank=True)
    """Why the last release broke off."""
    version = models.ForeignKey(
        DatasetVersion, null=True, blank=True, on_delete=models.SET_NULL, related_name="packages"
    )

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=State.values), name="package_state_known"),
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True) | Q(uploaded_by__isnull=True) | ~Q(decided_by=F("uploaded_by")),
                name="package_decided_by_another",
            ),
            models.UniqueConstraint(
                fields=["project", "manifest_sha256"],
                condition=Q(state__in=["waiting", "releasing"]),
                name="package_waits_once",
            ),
        ]

    def __str__(self) -> str:
        return f"package {self.pk}: {self.name}"

    def get_absolute_url(self) -> str:
        return reverse("package", args=[self.project.slug, self.pk])

    @property
    def fingerprint(self) -> str:
        return name_key(bytes.fromhex(self.key))

    @property
    def path(self) -> Path:
        return Path(settings.HOME) / "quarantine" / f"{self.place}.tar"
