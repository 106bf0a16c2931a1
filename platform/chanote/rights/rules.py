"""What may be done with data and models. Every rule stands in this file or is added to its lists by an app of its own;
nothing else in the platform compares rights.

Launch, evaluation, export and pages ask `judge_version`, `judge_model` or `check_export`. A rule says what speaks
against a use, as sentences with rows and source; an approved request for exception lets exactly its use of exactly its
version or model pass, unless the rule knows no exception.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.db.models import Max, Min, Sum
from django.db.models.expressions import F
from django.urls import reverse
from django.utils import timezone

from chanote.accounts.models import Project
from chanote.datasets.models import DatasetVersion, Use
from chanote.models.models import Model
from chanote.rights.models import ExceptionRequest, Purpose, Source, SourceSpan, State
from chanote.rights.rows import find_withdrawn_rows
from chanote.rights.terms import trace_terms
from chanote.web.problems import Problem

VERBS = {
    Use.TRAIN: "trained on",
    Use.DISTIL: "used to distil a teacher",
    Use.EVALUATE: "evaluated on",
    Use.PUBLISH: "published",
}
"""What must not be done with rows whose rights lack a use."""
MODEL_VERBS = {
    Use.TRAIN: "trained further",
    Use.DISTIL: "a teacher",
    Use.EVALUATE: "evaluated",
    Use.PUBLISH: "published",
}
NOUNS = {Use.TRAIN: "training", Use.DISTIL: "distilling", Use.EVALUATE: "evaluation", Use.PUBLISH: "publication"}
MOST_RANGES = 3
Range = tuple[int, int]
"""First and last row, from 1, both included."""


@dataclass(frozen=True)
class Refusal(Problem):
    """Why a use is refused. `message` is for a person and says everything; the rest is for programs and links."""

    rule: str = ""
    use: str = ""
    subject: str = ""
    """The version, `slug@number`, or the model."""
    rows: tuple[Range, ...] = ()
    source: str = ""
    ask: str = ""
    """Address at which an exception can be requested; empty where the rule knows none."""

    def facts(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "use": self.use,
            "subject": self.subject,
            "rows": [list(one) for one in self.rows],
            "data_source": self.source,
            "ask": self.ask,
        }


@dataclass(frozen=True)
class SourceRows:
    """The rows of a version that come from one source; `source` None: nobody said where from."""

    source: Source
    ranges: tuple[Range, ...]
    """The first few of them."""
    more: int = 0
    """Ranges beyond these."""


@dataclass(frozen=True)
class Finding:
    """What a rule says. `words` lacks its end, which is "; " and `way_out` and, where one may be had, an exception."""

    words: str
    way_out: str = "choose another dataset"
    """Empty where `words` are a whole sentence with a way out already."""
    ranges: tuple[Range, ...] = ()
    source: str = ""


@dataclass
class AskedVersion:
    """A use of a version, with what rules want to know of it."""

    version: DatasetVersion
    use: Use
    measured: bool = False
    """Only measured, never trained on: rights to train are enough as well."""
    today: date = field(default_factory=timezone.localdate)
    _sources: list[SourceRows] | None = None

    @property
    def project(self) -> Project:
        return self.version.dataset.project

    @property
    def verb(self) -> str:
        return "measured on" if self.measured else VERBS[self.use]

    def is_among(self, uses: Sequence[str]) -> bool:
        return self.use in uses or (self.measured and Use.TRAIN in uses)

    @property
    def sources(self) -> list[SourceRows]:
        if self._sources is None:
            self._sources = list(read_sources_of(self.version))
        return self._sources

    def rows_from(self, one: SourceRows) -> str:
        """Such as "rows 401 to 600 of thai-exam@1", or the version where all its rows are meant."""
        if one.ranges == ((1, self.version.rows),):
            return self.version.reference
        return f"{spell_ranges(one.ranges, one.more)} of {self.version.reference}"

    def told(self, one: SourceRows) -> str:
        """Rows and source in brackets, for a sentence whose subject is the version."""
        rows = spell_ranges(one.ranges, one.more) if one.ranges == ((1, self.version.rows),) else ""
        return f"({rows}{', ' if rows else ''}source {one.source.slug})"


@dataclass
class AskedModel:
    model: Model
    use: Use
    today: date = field(default_factory=timezone.localdate)

    @property
    def project(self) -> Project:
        return self.model.project


VersionRule = Callable[[AskedVersion], Iterable[Finding]]
ModelRule = Callable[[AskedModel], Iterable[Finding]]


@dataclass(frozen=True)
class Entry:
    name: str
    check: Callable[..., Iterable[Finding]]
    exceptable: bool


VERSION_RULES: list[Entry] = []
MODEL_RULES: list[Entry] = []
"""In the order in which they are asked. An app adds its own with `version_rule` or `model_rule` in a module
`rights_rules`, which is found by its name."""


def version_rule(name: str, *, exceptable: bool = True) -> Callable[[VersionRule], VersionRule]:
    def add(check: VersionRule) -> VersionRule:
        VERSION_RULES.append(Entry(name, check, exceptable))
        return check

    return add


def model_rule(name: str, *, exceptable: bool = True) -> Callable[[ModelRule], ModelRule]:
    def add(check: ModelRule) -> ModelRule:
        MODEL_RULES.append(Entry(name, check, exceptable))
        return check

    return add


@version_rule("withdrawn", exceptable=False)
def check_withdrawn(asked: AskedVersion) -> Iterator[Finding]:
    for one in asked.sources:
        if one.source.withdrawn is not None:
            day = timezone.localtime(one.source.withdrawn).date()
            yield Finding(
                f"{asked.rows_from(one)} must not be {asked.verb}: the source {one.source.slug} was withdrawn on "
                f"{day} ({one.source.withdrawal_reason or 'no reason given'})",
                "make a version without it",
                one.ranges,
                one.source.slug,
            )


@version_rule("withdrawn_row", exceptable=False)
def check_withdrawn_rows(asked: AskedVersion) -> Iterator[Finding]:
    for number, row in find_withdrawn_rows(asked.version)[:MOST_RANGES]:
        yield Finding(
            f"row {number:,} of {asked.version.reference} was withdrawn ({row.reason}), so the version must not be "
            f"{asked.verb}",
            "make a version without it",
            ((number, number),),
        )


@version_rule("withdrawn_corpus", exceptable=False)
def check_withdrawn_corpora(asked: AskedVersion) -> Iterator[Finding]:
    """Labels of rollouts hold what tools read: their rows have the source of the prompt alone."""
    for read in read_corpora(asked.version):
        if has_withdrawn(read):
            yield Finding(
                f"{asked.version.reference} may hold words of {read.reference}, which its rollouts read and of which "
                f"something was withdrawn: it must not be {asked.verb}",
                "export the labels again",
                ((1, asked.version.rows),),
            )


@version_rule("scope")
def check_scope(asked: AskedVersion) -> Iterator[Finding]:
    """The consent of every source, and what whoever made the version narrowed it to."""
    closed = [one for one in asked.sources if not asked.is_among(one.source.uses)]
    for one in closed:
        yield Finding(*_word_scope(asked, one.source.uses, one), one.ranges, one.source.slug)
    if not closed and not asked.is_among(asked.version.uses):
        yield Finding(*_word_scope(asked, asked.version.uses, None), ((1, asked.version.rows),))


def _word_scope(asked: AskedVersion, uses: Sequence[str], one: SourceRows | None) -> tuple[str, str]:
    subject = asked.rows_from(one) if one else asked.version.reference
    whole = subject == asked.version.reference
    told = f" {asked.told(one)}" if one else f" ({spell_ranges(((1, asked.version.rows),))})"
    if list(uses) == [Use.EVALUATE]:
        words = f"{subject} {'is' if whole else 'are'} for evaluation only and must not be {asked.verb}{told}"
        return words, "choose a dataset whose rights allow it"
    allowed = ", ".join(uses) or "nothing"
    return (
        f"the rights of {subject} allow {allowed}, not {asked.use}: {'it' if whole else 'they'} must not be "
        f"{asked.verb}{told}",
        "choose another dataset",
    )


@version_rule("expired")
def check_expiry(asked: AskedVersion) -> Iterator[Finding]:
    for one in asked.sources:
        if one.source.expires is not None and one.source.expires < asked.today:
            yield Finding(
                f"the consent for {asked.rows_from(one)} ended on {one.source.expires} {asked.told(one)}, so "
                f"{'it' if asked.rows_from(one) == asked.version.reference else 'they'} must not be {asked.verb}",
                "ask the owner for a longer consent, or choose another dataset",
                one.ranges,
                one.source.slug,
            )


@version_rule("commercial")
def check_commerce(asked: AskedVersion) -> Iterator[Finding]:
    if not is_commercial(asked.project):
        return
    closed = [one for one in asked.sources if one.source.non_commercial]
    for one in closed:
        subject = asked.rows_from(one)
        whole = subject == asked.version.reference
        yield Finding(
            f"{subject} {'is' if whole else 'are'} non-commercial {asked.told(one)} and this project serves commerce: "
            f"{'it' if whole else 'they'} must not be {asked.verb}",
            "choose a dataset without such rows",
            one.ranges,
            one.source.slug,
        )
    if not closed and asked.version.non_commercial:
        yield Finding(
            f"{asked.version.reference} is non-commercial ({spell_ranges(((1, asked.version.rows),))}) and this "
            f"project serves commerce: it must not be {asked.verb}",
            "choose a dataset without such rows",
            ((1, asked.version.rows),),
        )


@model_rule("terms")
def check_terms(asked: AskedModel) -> Iterator[Finding]:
    """The model's own terms, and those of everything that it was made of."""
    for term in trace_terms(asked.model).terms:
        if asked.use not in term.uses:
            note = f", {term.note}" if term.note else ""
            licence = f" ({term.licence or 'no licence named'}{note})"
            if term.model == asked.model:
                words = f"the terms of {asked.model.slug}{licence} forbid {NOUNS[asked.use]}"
            else:
                words = (
                    f"{asked.model.slug} {term.role} {term.model.slug}, whose terms{licence} forbid {NOUNS[asked.use]}"
                )
            yield Finding(f"{words}: it must not be {MODEL_VERBS[asked.use]}", "choose another model")


@model_rule("commercial")
def check_commerce_of_model(asked: AskedModel) -> Iterator[Finding]:
    if not is_commercial(asked.project):
        return
    traced = trace_terms(asked.model)
    for term in traced.terms:
        if term.non_commercial:
            made = "is" if term.model == asked.model else f"{term.role} {term.model.slug}, which is"
            yield Finding(
                f"{asked.model.slug} {made} non-commercial and this project serves commerce: it must not be "
                f"{MODEL_VERBS[asked.use]}",
                "choose another model",
            )
    for version in traced.non_commercial_data:
        yield Finding(
            f"{asked.model.slug} was trained on {version}, which is non-commercial, and this project serves commerce: "
            f"it must not be {MODEL_VERBS[asked.use]}",
            "choose another model",
        )


@model_rule("withdrawn")
def check_withdrawn_of_model(asked: AskedModel) -> Iterator[Finding]:
    """What a model learned from a source that was withdrawn later cannot be taken out of it; whether it may be used
    all the same is for somebody else to decide. Evaluating it spreads nothing."""
    if asked.use == Use.EVALUATE:
        return
    for version, source, ranges in trace_terms(asked.model).withdrawn_data:
        yield Finding(
            f"{asked.model.slug} was trained on {spell_ranges(ranges)} of {version}, whose source {source} has been "
            f"withdrawn: it must not be {MODEL_VERBS[asked.use]}",
            "train it again without them",
            ranges,
            source,
        )


@dataclass(frozen=True)
class Judgement:
    """What speaks against a use, and the exceptions that let something pass."""

    refusals: tuple[Refusal, ...] = ()
    exceptions: tuple[ExceptionRequest, ...] = ()

    def __add__(self, other: "Judgement") -> "Judgement":
        passed = dict.fromkeys([*self.exceptions, *other.exceptions])
        return Judgement(self.refusals + other.refusals, tuple(passed))


def judge_version(
    version: DatasetVersion, use: str, *, field: str = "", measured: bool = False, lead: str = ""
) -> Judgement:
    """Whether rows of a version may be used so; no refusal means yes. `field` is what named it, `lead` the beginning
    of each sentence."""
    return _judge(AskedVersion(version, Use(use), measured), VERSION_RULES, version, field, lead)


def judge_model(model: Model, use: str, *, field: str = "") -> Judgement:
    """Whether a model may be used so: train it further, let it teach, evaluate it, publish it."""
    return _judge(AskedModel(model, Use(use)), MODEL_RULES, model, field)


def check_export(subject: DatasetVersion | Model, *, field: str = "") -> list[Refusal]:
    """Everything that keeps a version or a model from leaving the house; empty: it may leave.

    Asked in the transaction that writes the export down.
    """
    judge = judge_version if isinstance(subject, DatasetVersion) else judge_model
    return list(judge(subject, Use.PUBLISH, field=field).refusals)  # type: ignore[arg-type]


def allowed_uses(version: DatasetVersion) -> list[str]:
    """Uses that the rules let pass today, in the order of `Use`."""
    return [use for use in Use.values if not judge_version(version, use).refusals]


def _judge(
    asked: AskedVersion | AskedModel,
    entries: Sequence[Entry],
    subject: DatasetVersion | Model,
    field: str,
    lead: str = "",
) -> Judgement:
    refusals: list[Refusal] = []
    used: list[ExceptionRequest] = []
    for entry in entries:
        found = list(entry.check(asked))
        if found and entry.exceptable and (live := find_exceptions(subject, asked.use)):
            used = live[:1]
            continue
        refusals += [_refuse(asked, entry, one, subject, field, lead) for one in found]
    return Judgement(tuple(refusals), tuple(used))


def _refuse(
    asked: AskedVersion | AskedModel, entry: Entry, one: Finding, subject: DatasetVersion | Model, field: str, lead: str
) -> Refusal:
    kind = "version" if isinstance(subject, DatasetVersion) else "model"
    name = subject.reference if isinstance(subject, DatasetVersion) else subject.slug
    ask = ""
    if entry.exceptable:
        ask = f"{reverse('exception_new', args=[asked.project.slug])}?{kind}={name}&use={asked.use}"
    end = f"; {one.way_out}{', or ask for an exception' if ask else ''}." if one.way_out else ""
    return Refusal(field, f"{lead}{one.words}{end}", entry.name, str(asked.use), name, one.ranges, one.source, ask)


def find_exceptions(subject: DatasetVersion | Model, use: str) -> list[ExceptionRequest]:
    """Approved ones that hold today, the longest first."""
    kind = "version" if isinstance(subject, DatasetVersion) else "model"
    return list(
        ExceptionRequest.objects.filter(
            **{kind: subject}, use=use, state=State.APPROVED, until__gte=timezone.localdate()
        )
        .select_related("requested_by", "decided_by")
        .order_by("-until", "-pk")
    )


def read_sources_of(version: DatasetVersion) -> Iterator[SourceRows]:
    """Sources of a version in the order of their first rows, each with its first ranges. However many spans there
    are, it costs one query and one more a source."""
    spans = SourceSpan.objects.filter(version=version)
    counted = list(
        spans.order_by()
        .values("source")
        .annotate(first=Min("start"), last=Max("stop"), rows=Sum(F("stop") - F("start")))
        .order_by("first")
    )
    sources = Source.objects.in_bulk([one["source"] for one in counted])
    for one in counted:
        ranges: list[Range] = [(one["first"] + 1, one["last"])]
        more = 0
        if one["rows"] != one["last"] - one["first"]:
            own = spans.filter(source=one["source"]).order_by("start")
            ranges = [(start + 1, stop) for start, stop in own.values_list("start", "stop")[:MOST_RANGES]]
            more = own.count() - len(ranges)
        yield SourceRows(sources[one["source"]], tuple(ranges), more)


def read_corpora(version: DatasetVersion) -> list[DatasetVersion]:
    """Versions that the rollouts read of which a version of labels was made."""
    read = set(version.operation.get("read") or []) if version.operation.get("name") == "labels" else set()
    if not read:
        return []
    drawn = version.drawn_from.select_related("dataset__project")
    return [one for one in drawn if one.reference in read]


def has_withdrawn(version: DatasetVersion) -> bool:
    """Whether a source of the version or a row in it was withdrawn."""
    return version.spans.filter(source__withdrawn__isnull=False).exists() or bool(find_withdrawn_rows(version))


def is_row_withdrawn(version: DatasetVersion, number: int) -> bool:
    """The same of one row, by its number from 1."""
    spans = version.spans.filter(source__withdrawn__isnull=False, start__lt=number, stop__gte=number)
    return spans.exists() or any(number == place for place, _ in find_withdrawn_rows(version))


def is_commercial(project: Project) -> bool:
    return Purpose.objects.filter(project=project, commercial=True).exists()


def spell_ranges(ranges: Sequence[Range], more: int = 0) -> str:
    """Such as "row 7" or "rows 1 to 3 and 9 to 12"."""
    parts = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in ranges]
    if more:
        parts.append(f"{more:,} more ranges")
    joined = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    single = len(ranges) == 1 and not more and ranges[0][0] == ranges[0][1]
    return f"{'row' if single else 'rows'} {joined}"
