"""Labels of rollouts, what was found in the files of steps, and the dataset versions that labels became.

A rollout is named by its run, the attempt that sampled it, step, group and index: no label hangs on a row that is
written anew when events are read again.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q

from chanote.accounts.models import Project
from chanote.accounts.visibility import VisibleQuerySet
from chanote.datasets.models import DatasetVersion
from chanote.runs.models import RolloutFile, Run, ThroughRun

LONGEST_NOTE = 2000


class LabelKind(models.TextChoices):
    """What a person may say of a rollout; the order is that of the keys 1 to 5."""

    GOOD = "good", "good"
    WRONG = "wrong", "wrong"
    HACKED = "hacked", "reward hacked"
    MISUSED = "misused", "tool misused"
    UNSURE = "unsure", "unsure"


class Label(models.Model):
    """One person's word on one rollout. The same person's next word takes its place; the audit log keeps both."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="labels")
    attempt = models.PositiveIntegerField()
    """Number of the attempt that sampled it: a retry puts another rollout in the same place."""
    step = models.PositiveIntegerField()
    group = models.PositiveIntegerField()
    index = models.PositiveIntegerField()
    label = models.CharField(max_length=10, choices=LabelKind.choices)
    note = models.TextField(blank=True, max_length=LONGEST_NOTE)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    author_name = models.CharField(max_length=150, blank=True)
    """Stays when the account goes."""
    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)

    is_new: bool = False
    """Set by `set_label` on a label that was not there before."""

    objects = ThroughRun.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "attempt", "step", "group", "index", "author"], name="one_label_per_person_and_rollout"
            ),
            models.CheckConstraint(condition=Q(label__in=LabelKind.values), name="label_kind_known"),
        ]

    def __str__(self) -> str:
        return f"{self.run} step {self.step}, rollout {self.place}"

    @property
    def project(self) -> Project:
        return self.run.project

    @property
    def place(self) -> str:
        return f"{self.group}.{self.index}"


class SiftedStep(models.Model):
    """A file of rollouts that was looked through. What was found can always be found again."""

    file = models.OneToOneField(RolloutFile, on_delete=models.CASCADE, related_name="sifted")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    attempt = models.PositiveIntegerField()
    step = models.PositiveIntegerField()
    rules = models.PositiveIntegerField()
    """`chanote.review.rules.EDITION` at that time."""
    bytes = models.PositiveBigIntegerField()
    rollouts = models.PositiveIntegerField()
    """As the event told of the file: another number means another file."""
    settled = models.BooleanField(default=False)
    """Whether every tool call of the step was stored by then."""
    current = models.BooleanField(default=True)
    """False: a later attempt went another way before this step."""
    fault = models.TextField(blank=True)
    at = models.DateTimeField(auto_now_add=True)

    objects = ThroughRun.as_manager()

    class Meta:
        indexes = [models.Index(fields=["run", "current"], name="sifted_by_run")]

    def __str__(self) -> str:
        return f"{self.run} step {self.step}"


class Pick(models.Model):
    """A rollout with a high reward and an odd shape, with the reasons in words."""

    sifted = models.ForeignKey(SiftedStep, on_delete=models.CASCADE, related_name="picks")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    attempt = models.PositiveIntegerField()
    step = models.PositiveIntegerField()
    group = models.PositiveIntegerField()
    index = models.PositiveIntegerField()
    reward = models.FloatField()
    tokens = models.PositiveIntegerField()
    """Sampled by the policy."""
    question = models.TextField(blank=True)
    answer = models.TextField(blank=True)
    """Beginnings, for a list."""
    reasons = models.JSONField(default=list)
    """Of each: `rule` and `words`, the strongest first."""
    rules = models.CharField(max_length=120)
    """Their names between commas, `,calls,length,`."""
    oddness = models.FloatField()
    """Sum of the strengths of the reasons: what the inbox is ordered by."""

    objects = ThroughRun.as_manager()

    class Meta:
        ordering = ["-oddness", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["sifted", "group", "index"], name="rollout_picked_once"),
        ]
        indexes = [models.Index(fields=["run", "-oddness"], name="pick_by_oddness")]

    def __str__(self) -> str:
        return f"{self.run} step {self.step}, rollout {self.place}"

    @property
    def place(self) -> str:
        return f"{self.group}.{self.index}"


class StoredPrompt(models.Model):
    """A prompt where it was sampled: what finds the same prompt in other steps and runs."""

    sifted = models.ForeignKey(SiftedStep, on_delete=models.CASCADE, related_name="prompts")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    step = models.PositiveIntegerField()
    group = models.PositiveIntegerField()
    row = models.CharField(max_length=200)
    """`name@version#12`."""
    sha256 = models.CharField(max_length=64)
    """Of the prompt as the policy saw it."""
    rollouts = models.PositiveIntegerField()
    mean_reward = models.FloatField(null=True, blank=True)
    best = models.PositiveIntegerField(default=0)
    """Index of the rollout with the highest reward."""

    objects = ThroughRun.as_manager()

    class Meta:
        ordering = ["run", "step", "group"]
        indexes = [
            models.Index(fields=["row", "run"], name="stored_prompt_by_row"),
            models.Index(fields=["sha256", "run"], name="stored_prompt_by_text"),
        ]

    def __str__(self) -> str:
        return f"{self.run} step {self.step}, prompt {self.group}"


class LabelExport(models.Model):
    """A dataset version that was made of labels."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="label_exports")
    version = models.OneToOneField(DatasetVersion, on_delete=models.CASCADE, related_name="label_export")
    labels = models.PositiveIntegerField()
    left_out = models.JSONField(default=list)
    """Sentences on labelled rollouts that no row could be made of."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"labels as {self.version_id}"
