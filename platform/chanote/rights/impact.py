"""What used some rows: versions that hold them, runs that read them, and everything that came out of those runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from chanote.accounts.models import Project
from chanote.audit.models import AuditEvent
from chanote.boards.models import Board, Evaluation, Task
from chanote.datasets.models import DatasetVersion
from chanote.models.models import Model
from chanote.models.teachers import list_teachers
from chanote.review.models import LabelExport
from chanote.rights.models import Source, SourceSpan
from chanote.rights.rows import Mark, find_marks
from chanote.rights.rules import MOST_RANGES, Range, spell_ranges
from chanote.rights.terms import list_trained
from chanote.runs.models import ACTIVE, Checkpoint, Run
from chanote.tools.models import ToolsetRevision

WORDS = {
    "trained": "trained on the rows",
    "read": "its tools read them",
    "measured": "measured on them",
    "evaluated": "evaluated models on them",
    "started": "started from a model that learned from them",
    "taught": "learned from a teacher that learned from them",
}
MOST_HASHES = 100
LEARNS = ("trained", "read", "started", "taught")
"""Ways in which a policy takes something up."""


@dataclass(frozen=True)
class VersionHit:
    version: DatasetVersion
    ranges: tuple[Range, ...]
    more: int = 0

    @property
    def rows(self) -> str:
        return spell_ranges(self.ranges, self.more)


@dataclass
class RunHit:
    run: Run
    how: list[str] = field(default_factory=list)
    first_stage: int = 10**6
    """Stage from which on the policy has learned from them."""

    @property
    def words(self) -> str:
        return ", ".join(WORDS[one] for one in self.how)

    @property
    def learned(self) -> bool:
        return any(one in LEARNS for one in self.how)

    def add(self, how: str, stage: int | None = None) -> bool:
        """Whether that was new."""
        if stage is not None and stage < self.first_stage:
            self.first_stage = stage
        if how in self.how:
            return False
        self.how.append(how)
        return True


@dataclass
class Impact:
    versions: list[VersionHit] = field(default_factory=list)
    made_from: list[DatasetVersion] = field(default_factory=list)
    """Versions made of these, in which the rows do not stand as they were; a changed form of them may."""
    runs: list[RunHit] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    boards: list[Board] = field(default_factory=list)
    toolsets: list[ToolsetRevision] = field(default_factory=list)
    label_exports: list[LabelExport] = field(default_factory=list)
    exports: list[AuditEvent] = field(default_factory=list)
    """What left the house, as the audit log has it."""

    @property
    def active_runs(self) -> list[RunHit]:
        return [hit for hit in self.runs if hit.run.state in ACTIVE and hit.learned]

    def count(self) -> dict[str, int]:
        names = (
            "versions", "made_from", "runs", "checkpoints", "models", "tasks", "evaluations", "boards", "toolsets",
            "label_exports", "exports",
        )  # fmt: skip
        return {name: len(getattr(self, name)) for name in names}


def find_impact_of_source(source: Source) -> Impact:
    return trace_impact(source.project, find_versions_of_source(source))


def find_impact_of_row(project: Project, mark: Mark) -> Impact:
    return trace_impact(project, find_versions_of_row(project, mark))


def find_versions_of_source(source: Source) -> list[VersionHit]:
    """Versions with rows of the source, with the first few ranges of them."""
    spans = SourceSpan.objects.filter(source=source).select_related("version__dataset__project")
    ranges: dict[int, list[Range]] = {}
    versions: dict[int, DatasetVersion] = {}
    for span in spans.order_by("version__dataset__slug", "-version__number", "start"):
        versions[span.version_id] = span.version
        ranges.setdefault(span.version_id, []).append((span.start + 1, span.stop))
    return [VersionHit(version, *_cut(ranges[key])) for key, version in versions.items()]


def find_versions_of_row(project: Project, mark: Mark) -> list[VersionHit]:
    """Versions of the project in which the row stands, whoever brought it there. Reads every version's rows once."""
    versions = DatasetVersion.objects.filter(dataset__project=project).select_related("dataset__project")
    hits = []
    for version in versions.order_by("dataset__slug", "-number"):
        if numbers := [number for number, _ in find_marks(version, frozenset([mark]))]:
            hits.append(VersionHit(version, *_cut([(number, number) for number in numbers])))
    return hits


def _cut(ranges: Sequence[Range]) -> tuple[tuple[Range, ...], int]:
    return tuple(ranges[:MOST_RANGES]), max(0, len(ranges) - MOST_RANGES)


def trace_impact(project: Project, hits: list[VersionHit]) -> Impact:
    """Follow the rows from versions to runs, their models, the runs that those began or taught, and to scores."""
    hits = hits + _find_labels_of_readers(hits)
    versions = [hit.version for hit in hits]
    hashes = {version.sha256 for version in versions}
    impact = Impact(versions=hits, made_from=_list_made_from(versions))
    found = {run.pk: hit for run in _find_readers(project, hashes) if (hit := _look_at_run(run, hashes)).how}
    models: dict[int, Model] = {}
    grown = True
    while grown:
        new = _find_models(found.values(), models)
        models |= new
        grown = bool(new) and _follow_models(project, list(new.values()), found)
    impact.runs = sorted(found.values(), key=lambda hit: hit.run.number, reverse=True)
    impact.models = sorted(models.values(), key=lambda model: model.slug)
    impact.checkpoints = _list_checkpoints(found.values())
    impact.tasks = list(Task.objects.filter(dataset_version__in=versions))
    impact.evaluations = list(
        Evaluation.objects.filter(Q(task__in=impact.tasks) | Q(model__in=impact.models))
        .select_related("task", "model")
        .order_by("-created")
    )
    impact.boards = list(Board.objects.filter(evaluations__in=impact.evaluations).distinct())
    impact.toolsets = list(ToolsetRevision.objects.filter(corpus__in=versions).select_related("toolset"))
    impact.label_exports = list(
        LabelExport.objects.filter(Q(version__in=versions) | Q(version__drawn_from__in=versions))
        .distinct()
        .select_related("version__dataset__project")
    )
    impact.exports = _list_exports(project, versions, impact.models)
    return impact


def _find_labels_of_readers(hits: list[VersionHit]) -> list[VersionHit]:
    """Versions of labels whose rollouts read these versions: any of their rows may hold their words."""
    known = {hit.version.pk for hit in hits}
    names = {hit.version.reference for hit in hits}
    drawn = DatasetVersion.objects.filter(drawn_from__in=known, operation__name="labels").distinct()
    return [
        VersionHit(version, ((1, version.rows),))
        for version in drawn.select_related("dataset__project")
        if version.pk not in known and names & set(version.operation.get("read") or [])
    ]


def _find_readers(project: Project, hashes: set[str]) -> Iterable[Run]:
    """Runs whose snapshots hold one of the hashes; every run where there are too many hashes for one query."""
    runs = Run.objects.filter(project=project).select_related("base")
    if len(hashes) > MOST_HASHES:
        return runs
    wanted = Q(pk__in=[])
    for sha256 in hashes:
        wanted |= Q(snapshot__datasets__icontains=sha256) | Q(snapshot__toolset__icontains=sha256)
    return runs.filter(wanted)


def _look_at_run(run: Run, hashes: set[str]) -> RunHit:
    hit = RunHit(run)
    snapshot = run.snapshot
    touched = {name for name, file in snapshot.get("datasets", {}).items() if file.get("sha256") in hashes}
    stages = snapshot.get("recipe", {}).get("stages", [])
    if touched:
        for number, stage in enumerate(stages):
            if touched & set(list_trained(stage)):
                hit.add("trained", number)
            if any(source.get("dataset") in touched for source in stage.get("held_out") or []):
                hit.add("measured")
        if any(task.get("dataset") in touched for task in snapshot.get("tasks", {}).values()):
            hit.add("evaluated")
        if not hit.how:
            # Frozen and named by no stage that is known here: better one too many.
            hit.add("trained", 0)
    corpus = (snapshot.get("toolset") or {}).get("corpus") or {}
    if corpus.get("sha256") in hashes:
        hit.add("read", 0)
    return hit


def _find_models(hits: Iterable[RunHit], known: dict[int, Model]) -> dict[int, Model]:
    """Models that came out of these runs, their copies and what was registered as made from them, not yet known."""
    new = {one.model_id: one.model for one in _list_checkpoints(hits) if one.model_id and one.model_id not in known}
    waiting = list(new.values())
    while waiting:
        model = waiting.pop()
        if model is None:
            continue
        for one in Model.objects.filter(
            Q(parent=model, checkpoint=None) | Q(sha256=model.sha256), project=model.project
        ):
            if one.pk not in known and one.pk not in new:
                new[one.pk] = one
                waiting.append(one)
    return {key: model for key, model in new.items() if key is not None and model is not None}


def _follow_models(project: Project, models: list[Model], found: dict[Any, RunHit]) -> bool:
    """Note the runs that started from these models or had them as teachers; whether any was new."""
    keys = {model.pk for model in models}
    slugs = {model.slug for model in models}
    grown = False
    runs = Run.objects.filter(project=project).select_related("base")
    for run in runs.filter(Q(base__in=models) | Q(snapshot__models__has_any_keys=list(slugs))):
        stages = run.snapshot.get("recipe", {}).get("stages", [])
        taught = [number for number in range(len(stages)) if slugs & set(list_teachers(run, last_stage=number))]
        if run.base_id not in keys and not taught:
            continue
        hit = found.setdefault(run.pk, RunHit(run))
        if run.base_id in keys:
            grown |= hit.add("started", 0)
        if taught:
            grown |= hit.add("taught", taught[0])
    return grown


def _list_checkpoints(hits: Iterable[RunHit]) -> list[Checkpoint]:
    first = {hit.run.pk: hit.first_stage for hit in hits if hit.learned}
    checkpoints = Checkpoint.objects.filter(run__in=list(first)).select_related("run", "model__project")
    return [one for one in checkpoints.order_by("-run__number", "-step") if one.stage >= first[one.run_id]]


def _list_made_from(versions: list[DatasetVersion]) -> list[DatasetVersion]:
    """Versions drawn from these, through any number of steps, that are not among them."""
    seen = {version.pk for version in versions}
    made: list[DatasetVersion] = []
    layer = list(seen)
    while layer:
        drawn = DatasetVersion.objects.filter(drawn_from__in=layer).select_related("dataset__project").distinct()
        new = [version for version in drawn if version.pk not in seen]
        seen |= {version.pk for version in new}
        made += new
        layer = [version.pk for version in new]
    return made


def _list_exports(project: Project, versions: list[DatasetVersion], models: list[Model]) -> list[AuditEvent]:
    names = [str(version.pk) for version in versions]
    events = AuditEvent.objects.filter(project=project, verb__endswith="exported")
    return list(
        events.filter(
            Q(object_kind="datasetversion", object_id__in=names)
            | Q(object_kind="model", object_id__in=[str(model.pk) for model in models])
        )
    )
