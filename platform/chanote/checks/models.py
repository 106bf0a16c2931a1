"""Results of checks, and what a project sets of them."""

from typing import Any

from django.conf import settings
from django.db import models

from chanote.accounts.models import Project
from chanote.accounts.visibility import VisibleQuerySet
from chanote.datasets.models import DatasetVersion


class ThroughVersion(VisibleQuerySet):
    project_path = "version__dataset__project"


class CheckResult(models.Model):
    """What one check, in one version and with one configuration, found in the rows of one dataset version.

    A row of this table stands for any number of findings: they lie in a file, see `chanote.checks.findings`.
    """

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="check_results")
    check_name = models.CharField(max_length=40)
    check_version = models.PositiveIntegerField()
    configuration = models.JSONField(default=dict)
    key = models.CharField(max_length=64)
    """Hash of the rows, the checker with its version, its settings and what it held the rows against: the same key is
    the same result."""
    rows = models.PositiveBigIntegerField()
    found_rows = models.PositiveBigIntegerField(default=0)
    """Rows with a finding that is more than a fact."""
    counts = models.JSONField(default=dict)
    samples = models.JSONField(default=list)
    """Of each `code`, `row` (from 1) and `text`, with everything personal masked."""
    findings_sha256 = models.CharField(max_length=64, blank=True)
    """The file of findings; empty when there is none."""
    detail_sha256 = models.CharField(max_length=64, blank=True)
    """Further JSON in the store, such as every item of every task."""
    seconds = models.FloatField(default=0)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = ThroughVersion.as_manager()

    class Meta:
        ordering = ["-created", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["version", "check_name", "key"], name="check_result_once_per_key"),
            models.CheckConstraint(condition=models.Q(found_rows__lte=models.F("rows")), name="found_rows_are_rows"),
        ]
        indexes = [models.Index(fields=["key"], name="check_result_by_key")]

    def __str__(self) -> str:
        return f"{self.check_name} {self.check_version} of {self.version}"

    @property
    def project(self) -> Project:
        return self.version.dataset.project

    @property
    def check_class(self) -> Any:
        """The check as it is now; None when it is gone."""
        from chanote.checks.checkers import CHECKS

        return CHECKS.get(self.check_name)


class CheckSettings(models.Model):
    """What a project sets of a check, such as further words of a list. What is not set is the check's default."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="check_settings")
    check_name = models.CharField(max_length=40)
    configuration = models.JSONField(default=dict)
    changed = models.DateTimeField(auto_now=True)
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["check_name"]
        constraints = [models.UniqueConstraint(fields=["project", "check_name"], name="check_set_once_in_project")]

    def __str__(self) -> str:
        return f"{self.check_name} in {self.project}"
