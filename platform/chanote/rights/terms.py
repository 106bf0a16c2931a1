"""What a model is made of and which terms come with it: its own, those of the models that its training started from,
those of its teachers, and what is to be known of the rows that it learned from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from chanote.datasets.models import DatasetVersion, Use
from chanote.models.models import Model
from chanote.models.teachers import list_teachers
from chanote.rights.models import ExceptionRequest, SourceSpan
from chanote.runs.models import Checkpoint, Run

MOST = 200
"""Models that a trace visits: no line of descent is longer."""
NEVER = {
    Use.TRAIN: "No further training",
    Use.DISTIL: "No distilling from it",
    Use.EVALUATE: "No evaluation",
    Use.PUBLISH: "Not to be published",
}
Range = tuple[int, int]


@dataclass(frozen=True)
class Term:
    """Terms of one model among those that a model is made of."""

    model: Model
    role: str
    """How the traced model comes from it: "itself", "started from", "learned from"."""

    @property
    def uses(self) -> list[str]:
        return self.model.uses

    @property
    def non_commercial(self) -> bool:
        return self.model.non_commercial

    @property
    def licence(self) -> str:
        return self.model.licence

    @property
    def note(self) -> str:
        return self.model.terms


@dataclass(frozen=True)
class Tag:
    """What stands on a model's page."""

    words: str
    because: str
    model: Model | None = None
    """Whose terms say so; None for rows."""


@dataclass(frozen=True)
class Training:
    """The part of a run that a model came out of."""

    run: Run
    last_stage: int


@dataclass
class Traced:
    model: Model
    terms: list[Term] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    data: list[DatasetVersion] = field(default_factory=list)
    """Versions whose rows it or its ancestors and teachers learned from."""

    @property
    def non_commercial_data(self) -> list[str]:
        marked = set(
            SourceSpan.objects.filter(version__in=self.data, source__non_commercial=True).values_list(
                "version", flat=True
            )
        )
        return [one.reference for one in self.data if one.non_commercial or one.pk in marked]

    @property
    def withdrawn_data(self) -> list[tuple[str, str, tuple[Range, ...]]]:
        """Version, source and the rows between the first and the last of it, from 1."""
        spans = SourceSpan.objects.filter(version__in=self.data, source__withdrawn__isnull=False)
        found: dict[tuple[str, str], Range] = {}
        for span in spans.select_related("source", "version__dataset").order_by("version", "start"):
            key = (span.version.reference, span.source.slug)
            first, _ = found.get(key, (span.start + 1, 0))
            found[key] = (first, span.stop)
        return [(version, source, (rows,)) for (version, source), rows in found.items()]

    @property
    def exceptions(self) -> list[dict[str, Any]]:
        """Those that let its trainings pass, as their runs froze them, each once."""
        noted = [one for training in self.trainings for one in training.run.snapshot.get("exceptions", [])]
        return list({one["id"]: one for one in noted}.values())

    @property
    def tags(self) -> list[Tag]:
        """What may not be done with it, and by whose terms; the same word from several each once for each."""
        tags: list[Tag] = []
        for term in self.terms:
            own = term.model == self.model
            because = "its own terms" if own else f"{term.role} {term.model.slug}"
            tags += [Tag(words, because, term.model) for use, words in NEVER.items() if use not in term.uses]
            if term.non_commercial:
                tags.append(Tag("Non-commercial", because, term.model))
        tags += [Tag("Non-commercial", f"trained on {version}") for version in self.non_commercial_data]
        tags += [
            Tag("Withdrawn source", f"trained on {version}, source {source}")
            for version, source, _ in self.withdrawn_data
        ]
        return tags


def trace_terms(model: Model) -> Traced:
    """Everything that a model is made of, itself first. A copy that was registered again is found by its hash, so that
    no terms are lost on the way."""
    traced = Traced(model)
    seen: set[int] = set()
    waiting: list[tuple[Model, str]] = [(model, "itself")]
    versions: dict[int, DatasetVersion] = {}
    while waiting and len(seen) < MOST:
        one, role = waiting.pop(0)
        if one.pk in seen:
            continue
        seen.add(one.pk)
        traced.terms.append(Term(one, role))
        same = Model.objects.filter(project=model.project, sha256=one.sha256).exclude(pk=one.pk)
        waiting += [(copy, "is the same as" if role == "itself" else role) for copy in same]
        if one.parent is not None:
            waiting.append((one.parent, "started from"))
        for training in find_trainings(one):
            traced.trainings.append(training)
            run = training.run
            if run.base is not None:
                waiting.append((run.base, "started from"))
            waiting += [(teacher, "learned from") for teacher in find_teachers(training)]
            versions |= {version.pk: version for version in find_trained_versions(training)}
    traced.data = list(versions.values())
    return traced


def find_trainings(model: Model) -> list[Training]:
    """Runs of the project that saved exactly these weights, each up to the stage that did."""
    checkpoints = Checkpoint.objects.filter(
        Q(model=model) | Q(sha256=model.sha256), run__project=model.project
    ).select_related("run__base", "run__project")
    found: dict[Any, Training] = {}
    for one in checkpoints.order_by("stage"):
        found.setdefault(one.run_id, Training(one.run, one.stage))
    return list(found.values())


def find_teachers(training: Training) -> list[Model]:
    """Teachers by the hash that the run froze, else by the name that it used."""
    run, found = training.run, []
    for slug in list_teachers(run, last_stage=training.last_stage):
        sha256 = run.snapshot.get("models", {}).get(slug, {}).get("sha256", "")
        models = Model.objects.filter(project=run.project)
        teacher = models.filter(slug=slug, sha256=sha256).first() or models.filter(sha256=sha256).first()
        if teacher := teacher or models.filter(slug=slug).first():
            found.append(teacher)
    return found


def find_trained_versions(training: Training) -> list[DatasetVersion]:
    """Versions that a training learned from, the laws its tools read among them."""
    wanted = name_trained_versions(training)
    found = DatasetVersion.objects.filter(
        dataset__project=training.run.project, sha256__in=[sha256 for sha256 in wanted.values() if sha256]
    ).select_related("dataset__project")
    return [version for _, version in match_versions(wanted, found) if version is not None]


def name_trained_versions(training: Training) -> dict[str, str]:
    """What the training learned from as its run froze it: by name the hash of the rows, empty where it has none."""
    run = training.run
    files = run.snapshot.get("datasets", {})
    stages = run.snapshot.get("recipe", {}).get("stages", [])[: training.last_stage + 1]
    named = dict.fromkeys(name for stage in stages for name in list_trained(stage))
    wanted = {name: files.get(name, {}).get("sha256", "") for name in named}
    corpus = (run.snapshot.get("toolset") or {}).get("corpus") or {}
    if corpus:
        wanted[str(corpus.get("dataset", ""))] = str(corpus.get("sha256", ""))
    return wanted


def match_versions(
    wanted: Mapping[str, str], found: Iterable[DatasetVersion]
) -> list[tuple[str, DatasetVersion | None]]:
    """Each name with the version of that name and hash, else one with the same rows, else None."""
    listed = list(found)
    by_name = {version.reference: version for version in listed}
    by_hash = {version.sha256: version for version in listed}
    matched: list[tuple[str, DatasetVersion | None]] = []
    for name, sha256 in wanted.items():
        version = by_name.get(name)
        matched.append((name, version if version is not None and version.sha256 == sha256 else by_hash.get(sha256)))
    return matched


def list_trained(stage: dict[str, Any]) -> Iterator[str]:
    """Names of the datasets that a resolved stage learns from."""
    for name, sources in stage.items():
        if name == "held_out" or not isinstance(sources, list):
            continue
        for source in sources:
            if isinstance(source, dict) and source.get("dataset"):
                yield source["dataset"]


def find_exceptions_of(model: Model) -> list[ExceptionRequest]:
    """Requests about the model itself, whatever became of them."""
    return list(model.exceptions.select_related("requested_by", "decided_by"))
