"""Datasets, their immutable versions and what is known of their rights."""

from django.conf import settings
from django.db import models
from django.urls import reverse
from simple_history.models import HistoricalRecords

from chanote.accounts.models import Project, slug_validator
from chanote.accounts.visibility import VisibleQuerySet


class Kind(models.TextChoices):
    CHAT = "chat", "chat"
    TEXT = "text", "text"
    PROMPTS = "prompts", "prompts"
    CHOICES = "choices", "choices"
    PREFERENCES = "preferences", "preferences"


class Use(models.TextChoices):
    """What the owner of the data consented to."""

    TRAIN = "train", "train"
    DISTIL = "distil", "distil"
    EVALUATE = "evaluate", "evaluate"
    PUBLISH = "publish", "publish"


class Dataset(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="datasets")
    slug = models.CharField(max_length=80, validators=[slug_validator])
    title = models.CharField(max_length=160)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    description = models.TextField(blank=True)
    languages = models.JSONField(default=list, blank=True)
    """BCP 47 tags, such as ["th", "en"]."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    history = HistoricalRecords()
    """Who changed the words about it, and what they were before."""

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.UniqueConstraint(fields=["project", "slug"], name="dataset_slug_unique_in_project"),
            models.CheckConstraint(condition=models.Q(kind__in=Kind.values), name="dataset_kind_known"),
        ]

    def __str__(self) -> str:
        return self.slug

    def get_absolute_url(self) -> str:
        return reverse("dataset", args=[self.project.slug, self.slug])


class ImmutableError(Exception):
    """A dataset version was asked to change; a change is a new version."""


class DatasetVersionQuerySet(VisibleQuerySet):
    project_path = "dataset__project"

    def update(self, **values: object) -> int:
        raise ImmutableError("a dataset version cannot be changed; import a new version")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise ImmutableError("a dataset version cannot be deleted: runs and boards refer to it")


class DatasetVersion(models.Model):
    """Rows that never change again, stored as canonical JSON lines under their own hash."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64, db_index=True)
    """Hash of the canonical rows: UTF-8 JSON lines, keys sorted, no spaces, one line feed after each."""
    rows = models.PositiveBigIntegerField()
    bytes = models.PositiveBigIntegerField()
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    reason = models.CharField(max_length=500, blank=True)
    """Why this version was made."""
    licence = models.CharField(max_length=80, blank=True)
    """SPDX identifier, or LicenseRef-… where none fits."""
    uses = models.JSONField(default=list)
    """Values of `Use` that the rights allow."""
    non_commercial = models.BooleanField(default=False)
    source = models.TextField(blank=True)
    """Where the rows come from, with the commit or the address."""
    statistics = models.JSONField(default=dict)
    operation = models.JSONField(default=dict)
    """What made it: `name`, such as import or merge, and everything needed to do it again."""
    drawn_from = models.ManyToManyField("self", symmetrical=False, related_name="drawn_into", blank=True)
    """Every version that rows were taken from, of this dataset or others. Written when the version is made."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = DatasetVersionQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["dataset", "number"], name="version_number_unique_in_dataset")]

    def __str__(self) -> str:
        return self.reference

    unchanged = False
    """Set by an import whose rows and rights are those of this version already."""

    def save(self, *args: object, **kwargs: object) -> None:
        if self.pk is not None:
            raise ImmutableError(f"{self.reference} cannot be changed; import a new version")
        super().save(*args, **kwargs)

    def delete(self, *args: object, **kwargs: object) -> tuple[int, dict[str, int]]:
        raise ImmutableError(f"{self.reference} cannot be deleted: runs and boards refer to it")

    @property
    def project(self) -> Project:
        return self.dataset.project

    @property
    def evaluation_only(self) -> bool:
        """Whether the rights allow these rows to judge models and forbid them to train any."""
        return Use.EVALUATE in self.uses and not {Use.TRAIN, Use.DISTIL} & set(self.uses)

    @property
    def reference(self) -> str:
        """The name recipes use: `slug@number`."""
        return f"{self.dataset.slug}@{self.number}"
