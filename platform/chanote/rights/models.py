"""Sources of data with what their owners allow, and which rows of a dataset version come from which source."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from chanote.accounts.models import Project, slug_validator
from chanote.accounts.visibility import VisibleQuerySet
from chanote.datasets.models import DatasetVersion


class Source(models.Model):
    """A body of data under one licence, one legal basis and one consent."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="sources")
    slug = models.CharField(max_length=80, validators=[slug_validator])
    title = models.CharField(max_length=160)
    licence = models.CharField(max_length=80, blank=True)
    """SPDX expression, or LicenseRef-… where none fits."""
    legal_basis = models.CharField(max_length=200, blank=True)
    """Why it may be held at all, such as an act and its section, or a contract."""
    uses = models.JSONField(default=list)
    """Values of `Use` that the owner consented to."""
    non_commercial = models.BooleanField(default=False)
    jurisdiction = models.CharField(max_length=80, blank=True)
    owner = models.CharField(max_length=200, blank=True)
    contact = models.CharField(max_length=200, blank=True)
    collected = models.DateField(null=True, blank=True)
    expires = models.DateField(null=True, blank=True)
    """Last day on which the consent holds."""
    languages = models.JSONField(default=list, blank=True)
    """BCP 47 tags."""
    origin = models.TextField(blank=True)
    """Address and commit, or how it came into the house."""
    withdrawn = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    withdrawal_reason = models.TextField(blank=True)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [models.UniqueConstraint(fields=["project", "slug"], name="source_slug_unique_in_project")]

    def __str__(self) -> str:
        return self.slug


class SpanQuerySet(VisibleQuerySet):
    project_path = "version__dataset__project"


class SourceSpan(models.Model):
    """Rows of a version, `start` to `stop` (from 0, `stop` not included), that come from one source."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="spans")
    source = models.ForeignKey(Source, on_delete=models.PROTECT, related_name="spans")
    start = models.PositiveBigIntegerField()
    stop = models.PositiveBigIntegerField()

    objects = SpanQuerySet.as_manager()

    class Meta:
        ordering = ["version", "start"]
        constraints = [
            models.UniqueConstraint(fields=["version", "start"], name="one_source_per_row"),
            models.CheckConstraint(condition=Q(stop__gt=F("start")), name="span_holds_rows"),
        ]

    def __str__(self) -> str:
        return f"rows {self.start + 1} to {self.stop} from {self.source_id}"
