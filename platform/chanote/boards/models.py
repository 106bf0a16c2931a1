"""Tasks, evaluations of models on them, the samples behind each score, and the boards that show them."""

import json
import zlib
from typing import Any, cast

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.functional import cached_property

from chanote.accounts.models import Project, slug_validator
from chanote.accounts.visibility import VisibleQuerySet
from chanote.datasets.models import DatasetVersion
from chanote.models.models import Model
from chanote.runs.models import Run


class Task(models.Model):
    """A frozen question set with its scoring. A changed definition is a new row with the next number."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="tasks")
    slug = models.CharField(max_length=80, validators=[slug_validator])
    number = models.PositiveIntegerField(default=1)
    title = models.CharField(max_length=160, blank=True)
    definition = models.JSONField()
    """A full `trainer.contract.TaskSpec`."""
    sha256 = models.CharField(max_length=64)
    """Hash of the definition and of the rows it reads: scores with equal hashes are comparable."""
    # Typed as always there: whatever runs a task has it from `find_task`, which gives none without rows.
    dataset_version = cast(
        "models.ForeignKey[DatasetVersion, DatasetVersion]",
        models.ForeignKey(DatasetVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="tasks"),
    )
    """None of a task that is known by imported results only: it can be compared on, not run."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["slug", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "slug", "number"], name="task_number_unique_in_project")
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        return f"{self.slug}@{self.number}"

    @property
    def higher_is_better(self) -> bool:
        return self.definition["metric"] != "perplexity"


class Board(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="boards")
    slug = models.CharField(max_length=80, validators=[slug_validator])
    title = models.CharField(max_length=160)
    question = models.TextField(blank=True)
    """What the board is meant to answer, in a sentence."""
    baseline = models.ForeignKey(Model, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]
        constraints = [models.UniqueConstraint(fields=["project", "slug"], name="board_slug_unique_in_project")]

    def __str__(self) -> str:
        return self.slug


class ThroughTask(VisibleQuerySet):
    project_path = "task__project"


class ImportedFile(models.Model):
    """A result file of another harness: its bytes are kept, and it is imported once."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imported_files")
    sha256 = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    format = models.CharField(max_length=20)
    bytes = models.PositiveBigIntegerField()
    skipped = models.JSONField(default=list)
    """A sentence for every row that was not taken."""
    notes = models.JSONField(default=list)
    """Whether the harness's own means and standard errors come out again."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-created"]
        constraints = [models.UniqueConstraint(fields=["project", "sha256"], name="result_file_imported_once")]

    def __str__(self) -> str:
        return self.name


class ItemSet(models.Model):
    """The items that evaluations of a task were asked, by name in order, each with its cluster."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="item_sets")
    sha256 = models.CharField(max_length=64)
    items = models.JSONField(default=list)
    clusters = models.JSONField(default=list)

    objects = ThroughTask.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["task", "sha256"], name="item_set_once_per_task")]

    def __str__(self) -> str:
        return f"{len(self.items)} items of {self.task_id}"


class Standing(models.Model):
    """What the statistics say of a set of evaluations of one task, kept so that no page works it out again."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="standings")
    key = models.CharField(max_length=64, unique=True)
    """Hash of the evaluations and of the methods; see `standings.py`."""
    estimates = models.JSONField(default=list)
    comparisons = models.BinaryField()
    """Deflated JSON: 1,225 pairs are 300 kB."""
    created = models.DateTimeField(auto_now_add=True)

    objects = ThroughTask.as_manager()

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.key


class Evaluation(models.Model):
    """One model scored on one task."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="evaluations")
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="evaluations")
    model = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="evaluations")
    run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="evaluations")
    boards = models.ManyToManyField(Board, blank=True, related_name="evaluations")
    step = models.PositiveIntegerField(null=True, blank=True)
    settings_sha256 = models.CharField(max_length=64)
    """Hash of decoding settings and harness version."""
    harness = models.CharField(max_length=40)
    samples_sha256 = models.CharField(max_length=64)
    samples_path = models.CharField(max_length=1000, blank=True)
    count = models.PositiveIntegerField()
    """Items scored."""
    failed = models.PositiveIntegerField(default=0)
    """Items without status ok; counted as wrong in the estimate."""
    left_out = models.PositiveIntegerField(default=0)
    """Items that are no answers, since tools or a judge failed; neither in `count` nor in the estimate."""
    episodes = models.JSONField(null=True, blank=True)
    """Of an agent: a `trainer.contract.episodes.EpisodeSummary`, its toolset, and every reward with its interval."""
    mean = models.FloatField(null=True, blank=True)
    item_set = models.ForeignKey(ItemSet, null=True, blank=True, on_delete=models.PROTECT, related_name="evaluations")
    scores = models.BinaryField(null=True, editable=False)
    """Scores and statuses by item of the set, see `scores.py`: the same as in the samples, in one piece."""
    imported_from = models.ForeignKey(
        ImportedFile, null=True, blank=True, on_delete=models.PROTECT, related_name="evaluations"
    )
    seconds = models.FloatField(default=0)
    created = models.DateTimeField(auto_now_add=True)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["-created"]
        constraints = [
            models.UniqueConstraint(
                fields=["task", "model", "run", "step", "samples_sha256"], name="evaluation_imported_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.model} on {self.task}"


class Alias(models.Model):
    """A name that points at one model, such as `candidate`; it moves only past its guard."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="aliases")
    name = models.CharField(max_length=80, validators=[slug_validator])
    model = models.ForeignKey(Model, null=True, blank=True, on_delete=models.PROTECT, related_name="aliases")
    guard = models.ForeignKey(Board, on_delete=models.PROTECT, related_name="aliases")
    """The board whose tasks a model must not be significantly worse on than the model that the name points at."""
    suite = models.JSONField(default=dict, blank=True)
    """Margin by task (`slug@number`), in score units: on each the model must surely be worse by less. Empty: no such
    suite is set, and only a significant loss on a task of the board stops a model."""
    against_base = models.BooleanField(default=False)
    """The suite is held against the board's baseline (nothing was forgotten), else against the model pointed at."""
    changed = models.DateTimeField(auto_now=True)
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = VisibleQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "aliases"
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="alias_name_unique_in_project")]

    def __str__(self) -> str:
        return self.name


class ThroughEvaluation(VisibleQuerySet):
    project_path = "evaluation__project"


class Sample(models.Model):
    """One item as one model answered it."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="samples")
    item = models.CharField(max_length=120)
    cluster = models.CharField(max_length=200, blank=True)
    prompt = models.TextField()
    output = models.TextField()
    target = models.TextField()
    score = models.FloatField(null=True, blank=True)
    status = models.CharField(max_length=12)
    tokens = models.PositiveIntegerField(default=0)
    detail = models.JSONField(default=dict)
    episode = models.JSONField(null=True, blank=True)
    """Of an agent: a `trainer.contract.episodes.ScoredEpisode`."""

    objects = ThroughEvaluation.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["evaluation", "item"], name="one_sample_per_item")]

    def __str__(self) -> str:
        return self.item


class ThroughBoard(VisibleQuerySet):
    project_path = "board__project"


class Snapshot(models.Model):
    """A board as it stood once: frozen, numbered, cited by its hash. Later scores change nothing in it."""

    board = models.ForeignKey(Board, on_delete=models.CASCADE, related_name="snapshots")
    number = models.PositiveIntegerField()
    reason = models.CharField(max_length=300, blank=True)
    packed = models.BinaryField()
    """Deflated canonical JSON, see `snapshots.py`: the very bytes, since a database's own JSON may respell numbers."""
    sha256 = models.CharField(max_length=64)
    """Of the canonical JSON."""
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)

    objects = ThroughBoard.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["board", "number"], name="snapshot_number_unique_on_board")]

    def __str__(self) -> str:
        return f"{self.board.slug}#{self.number}"

    @cached_property
    def content(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(zlib.decompress(bytes(self.packed)))
        return found

    @property
    def project(self) -> Project:
        return self.board.project


class ThroughSnapshot(VisibleQuerySet):
    project_path = "snapshot__board__project"


class SharedLink(models.Model):
    """Whoever has the address may read one snapshot without a login, until it is revoked or expires."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, related_name="links")
    token_sha256 = models.CharField(max_length=64, unique=True)
    """Of the token in the address, which is told once and stored nowhere."""
    with_items = models.BooleanField(default=False)
    """Questions and answers may be read too, as long as the rights of data and models allow it."""
    expires = models.DateTimeField(null=True, blank=True)
    created = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    revoked = models.DateTimeField(null=True, blank=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = ThroughSnapshot.as_manager()

    class Meta:
        ordering = ["-created", "-pk"]

    def __str__(self) -> str:
        return f"link {self.pk} to {self.snapshot}"

    @property
    def project(self) -> Project:
        return self.snapshot.project

    @property
    def state(self) -> str:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= timezone.now() else "open"
