"""A toolset that a recipe names: is it there, does the service answer as it says, and what of it a run freezes."""

from collections.abc import Iterator
from typing import Any

from chanote.accounts.models import Project
from chanote.datasets.storage import version_path
from chanote.tools.endpoints import find_endpoint
from chanote.tools.health import CODE_TOOLS, Health, look
from chanote.tools.models import Toolset, ToolsetRevision
from chanote.web.problems import Problem
from trainer.contract.toolsets import FrozenCorpus, ToolsetSpec

FIELD = "toolset"


def find_toolset(project: Project, reference: str) -> ToolsetRevision:
    """The revision that a recipe names: `slug@2`, or `slug` for the newest. Raises ToolsetRevision.DoesNotExist."""
    slug, _, number = reference.partition("@")
    revisions = ToolsetRevision.objects.filter(toolset__project=project, toolset__slug=slug).select_related(
        "toolset__project", "corpus__dataset"
    )
    if number:
        found = revisions.filter(number=int(number)).first() if number.isdecimal() and len(number) < 10 else None
    else:
        found = revisions.order_by("-number").first()
    if found is None:
        known = "has no such revision" if revisions.exists() else "is no toolset of this project"
        raise ToolsetRevision.DoesNotExist(f"{reference} {known}")
    return found


def check_toolset(project: Project, reference: str) -> Iterator[Problem]:
    """What the database alone can say against it: for pages that are drawn while somebody types."""
    if not reference:
        return
    try:
        revision = find_toolset(project, reference)
    except ToolsetRevision.DoesNotExist as error:
        names = list(Toolset.objects.filter(project=project).values_list("slug", flat=True)[:5])
        way_out = f"choose one of {', '.join(names)}" if names else "make a toolset first"
        yield Problem(FIELD, f"{error}; {way_out}.")
        return
    version = revision.corpus
    if version is None:
        return
    if not version_path(version).is_file():
        yield Problem(FIELD, f"the rows of {version.reference} are gone from the store; restore them from a backup.")


def freeze_toolset(project: Project, reference: str) -> tuple[ToolsetSpec | None, list[Problem]]:
    """What a run freezes, and why it cannot. Asks the service and may take seconds: for a launch, not a page.

    Nothing of both where the recipe names none, or one that `check_toolset` refuses.
    """
    if not reference:
        return None, []
    try:
        revision = find_toolset(project, reference)
    except ToolsetRevision.DoesNotExist:
        return None, []
    health = look(revision.address, fresh=True)
    problems = [Problem(FIELD, sentence) for sentence in find_differences(revision, health)]
    if problems:
        return None, problems
    return build_spec(revision, health), []


def find_differences(revision: ToolsetRevision, health: Health) -> list[str]:
    """What keeps the service from being what the revision says, each as a sentence with the way out."""
    if not health.answers:
        return [health.sentence]
    found = []
    for tool in revision.tools:
        if reason := health.why_not(tool):
            found.append(
                f"{revision.reference} has {tool}, which does not run now: {reason.rstrip('.')}; mend the service or "
                "leave the tool out."
            )
    if revision.corpus is not None and health.corpus_hash != revision.corpus_sha256:
        opened = f"corpus {health.corpus_hash[:12]}" if health.corpus_hash else "no corpus"
        found.append(
            f"{revision.reference} reads {revision.corpus.reference} (corpus {revision.corpus_sha256[:12]}), and the "
            f"service at {health.address} has {opened} open; start it with that corpus, or save a revision that names "
            "the other."
        )
    if revision.image_digest and _runs_code(revision) and health.image_digest != revision.image_digest:
        found.append(
            f"{revision.reference} wants image {revision.image_digest[:19]}, and the service runs "
            f"{health.image_digest[:19] or 'none'}; start it with that image, or save a revision that names the other."
        )
    return found


def build_spec(revision: ToolsetRevision, health: Health) -> ToolsetSpec:
    endpoint = find_endpoint(revision.address)
    version = revision.corpus
    corpus = None
    if version is not None:
        corpus = FrozenCorpus(
            dataset=version.reference,
            sha256=version.sha256,
            corpus_sha256=revision.corpus_sha256,
            sections=revision.corpus_sections,
            language=str(health.facts.get("language", "")),
        )
    return ToolsetSpec(
        name=revision.reference,
        tools=list(revision.tools),
        functions=[one for one in health.functions if one["name"] in revision.tools],
        limits=revision.read_limits,
        corpus=corpus,
        image_digest=health.image_digest if _runs_code(revision) else "",
        address=endpoint.address if endpoint else health.address,
    )


def find_toolset_changes(project: Project, snapshot: dict[str, Any]) -> list[Problem]:
    """What of a run's frozen toolset is no longer as it was. Asks the service."""
    frozen = snapshot.get("toolset")
    if not frozen:
        return []
    then = ToolsetSpec.model_validate(frozen)
    now, problems = freeze_toolset(project, then.name)
    if now is None:
        return problems
    differing = [name for name in ("corpus", "image_digest", "functions") if getattr(then, name) != getattr(now, name)]
    return [
        Problem(
            FIELD,
            f"{then.name} has another {name.replace('_', ' ')} now: another result is to be expected, so "
            "launch the recipe as a new run instead.",
        )
        for name in differing
    ]


def _runs_code(revision: ToolsetRevision) -> bool:
    return bool(set(revision.tools) & set(CODE_TOOLS))
