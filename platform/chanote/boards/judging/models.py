"""What people said of answers that models judge. A label hangs on the answer, not on a judgement: when another judge
reads the same answer, the label still holds."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from chanote.accounts.models import Project
from chanote.accounts.visibility import VisibleQuerySet
from chanote.boards.models import Task
from chanote.models.models import Model


class VotesFile(models.Model):
    """A file of human votes: its bytes are kept beside imported results, and it is taken once for each task."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="votes_files")
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="votes_files")
    sha256 = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    bytes = models.PositiveBigIntegerField()
    taken = models.PositiveIntegerField(default=0)
    """Votes that became labels."""
    skipped = models.JSONField(default=list)
    """A sentence for every vote that was not taken."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-created"]
        constraints = [models.UniqueConstraint(fields=["task", "sha256"], name="votes_file_taken_once_for_a_task")]

    def __str__(self) -> str:
        return self.name


class AnswerLabel(models.Model):
    """One person's word on one answer. The same person's next word takes its place; the audit log keeps both."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="answer_labels")
    family = models.CharField(max_length=64)
    """Hash of the task without its judges: labels serve every task that asks the same."""
    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="answer_labels")
    item = models.CharField(max_length=120)
    answer_sha256 = models.CharField(max_length=64, blank=True)
    """Of question, answer and the opponent's answer; empty where another harness keeps the texts."""
    rater = models.CharField(max_length=150)
    """Name of the account, or of the person in an imported file."""
    person = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    value = models.FloatField()
    """From 0 to 1, on the scale of the judge: tenths of a grade; or 1, 0.5 and 0 for a win, a tie and a loss."""
    source = models.ForeignKey(VotesFile, null=True, blank=True, on_delete=models.CASCADE, related_name="labels")
    created = models.DateTimeField(auto_now_add=True)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["project", "family", "model"])]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "family", "model", "item", "answer_sha256", "rater"],
                name="one_answer_label_per_rater",
            ),
            models.CheckConstraint(condition=Q(value__gte=0, value__lte=1), name="answer_label_within_scale"),
        ]

    def __str__(self) -> str:
        return f"{self.rater} on {self.item}"
