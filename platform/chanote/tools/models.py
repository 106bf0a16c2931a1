"""Toolsets with their immutable revisions, and the calls that runs made."""

from django.conf import settings
from django.db import models
from django.urls import reverse

from chanote.accounts.models import Project, slug_validator
from chanote.accounts.visibility import VisibleQuerySet
from chanote.datasets.models import DatasetVersion, ImmutableError
from chanote.runs.models import Attempt, Run
from trainer.contract.toolsets import ToolLimits


class Toolset(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="toolsets")
    slug = models.CharField(max_length=80, validators=[slug_validator])
    title = models.CharField(max_length=160, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [models.UniqueConstraint(fields=["project", "slug"], name="toolset_slug_unique_in_project")]

    def __str__(self) -> str:
        return self.slug

    def get_absolute_url(self) -> str:
        return reverse("toolset", args=[self.project.slug, self.slug])


class ToolsetRevisionQuerySet(VisibleQuerySet):
    project_path = "toolset__project"

    def update(self, **values: object) -> int:
        raise ImmutableError("a revision of a toolset cannot be changed; save the next one")


class ToolsetRevision(models.Model):
    """Which tools, over which corpus, within which limits. Never changed; a correction is the next revision."""

    toolset = models.ForeignKey(Toolset, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    tools = models.JSONField()
    """Names, such as ["search_law", "read_law"]."""
    corpus = models.ForeignKey(
        DatasetVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="toolset_revisions"
    )
    corpus_sha256 = models.CharField(max_length=64, blank=True)
    """Of the corpus file that the version becomes; empty without a corpus."""
    corpus_sections = models.PositiveIntegerField(default=0)
    limits = models.JSONField(default=dict)
    """A `trainer.contract.toolsets.ToolLimits`."""
    image_digest = models.CharField(max_length=200, blank=True)
    """Contents that the image for code must have; empty takes the service's image at launch."""
    address = models.CharField(max_length=300, blank=True)
    """Of the service; empty takes the installation's own."""
    sha256 = models.CharField(max_length=64)
    message = models.CharField(max_length=300, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    is_new: bool = False
    """Set by `save_toolset` on the revision that it made."""

    objects = ToolsetRevisionQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["toolset", "number"], name="toolset_revision_number_unique"),
        ]

    def __str__(self) -> str:
        return self.reference

    def save(self, *args: object, **kwargs: object) -> None:
        if self.pk is not None:
            raise ImmutableError(f"{self.reference} cannot be changed; save the next revision")
        super().save(*args, **kwargs)

    @property
    def project(self) -> Project:
        return self.toolset.project

    @property
    def reference(self) -> str:
        """The name recipes use: `slug@number`."""
        return f"{self.toolset.slug}@{self.number}"

    @property
    def read_limits(self) -> ToolLimits:
        return ToolLimits.model_validate(self.limits)


class CallQuerySet(VisibleQuerySet):
    project_path = "run__project"


class ToolCall(models.Model):
    """One call that a run made. Arguments and output are kept up to a length; what the policy wrote is data."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="tool_calls")
    attempt = models.ForeignKey(Attempt, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    """Empty for calls sent over HTTP."""
    call = models.CharField(max_length=64)
    step = models.PositiveIntegerField()
    rollout = models.CharField(max_length=80, blank=True)
    turn = models.PositiveIntegerField(default=0)
    tool = models.CharField(max_length=80)
    status = models.CharField(max_length=16)
    """Of `toolsandbox.contract.Status`."""
    wall_ms = models.FloatField()
    arguments = models.TextField(blank=True)
    output = models.TextField(blank=True)
    arguments_characters = models.PositiveIntegerField(default=0)
    """Before they were cut for the table."""
    output_characters = models.PositiveIntegerField(default=0)
    at = models.DateTimeField(null=True, blank=True)

    objects = CallQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["run", "call"], name="tool_call_stored_once")]
        # Each filter of the log finds its page by an index that ends in the order of the page.
        indexes = [
            models.Index(fields=["run", "tool", "status", "id"], name="tool_call_by_tool_and_status"),
            models.Index(fields=["run", "tool", "id"], name="tool_call_by_tool"),
            models.Index(fields=["run", "status", "id"], name="tool_call_by_status"),
            models.Index(fields=["run", "step", "rollout", "id"], name="tool_call_by_rollout"),
        ]

    def __str__(self) -> str:
        return f"{self.tool} {self.call}"

    @property
    def is_output_cut(self) -> bool:
        return self.output_characters > len(self.output)

    @property
    def are_arguments_cut(self) -> bool:
        return self.arguments_characters > len(self.arguments)
