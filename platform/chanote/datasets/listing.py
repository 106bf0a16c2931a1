"""The list of a project's datasets: each by its newest version, with what is known of it, in a fixed number of asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Max, Q

from chanote.accounts.models import Project
from chanote.checks.models import CheckResult
from chanote.checks.token_counts import TokenCount, find_token_counts
from chanote.curation.models import State
from chanote.curation.selectors import states_of
from chanote.datasets.models import Dataset, DatasetVersion, Kind, Use
from chanote.datasets.selectors import list_datasets
from chanote.rights.models import SourceSpan


@dataclass(frozen=True)
class ListWish:
    """Which datasets a reader asked for; everything that is given must hold."""

    q: str = ""
    state: str = ""
    kind: str = ""
    language: str = ""
    licence: str = ""
    use: str = ""

    def __bool__(self) -> bool:
        return any(vars(self).values())


def read_list_wish(query: Mapping[str, str]) -> ListWish:
    """What the address asks for; what it cannot mean is passed over."""
    state, kind, use = query.get("state", ""), query.get("kind", ""), query.get("use", "")
    return ListWish(
        q=" ".join(query.get("q", "").replace("\0", "").split())[:100],
        state=state if state in State.values else "",
        kind=kind if kind in Kind.values else "",
        language=query.get("language", "")[:35],
        licence=query.get("licence", "")[:80],
        use=use if use in Use.values else "",
    )


@dataclass(frozen=True)
class ListedDataset:
    dataset: Dataset
    version: DatasetVersion
    state: State
    owners: list[str]
    """Owners of the sources of its rows; who made the version where no source names one."""
    tokens: TokenCount | None
    """None where nobody has counted."""
    personal: str
    """What the check for personal data says, in words."""
    personal_found: int
    runs: int
    """Runs of the project that used any of its versions."""


@dataclass(frozen=True)
class DatasetList:
    rows: list[ListedDataset]
    total: int
    languages: list[str]
    licences: list[str]


def find_datasets(project: Project, user: Any, wish: ListWish) -> DatasetList:
    every = Dataset.objects.visible_to(user).filter(project=project)
    chosen = every
    if wish.q:
        chosen = chosen.filter(
            Q(slug__icontains=wish.q) | Q(title__icontains=wish.q) | Q(description__icontains=wish.q)
        )
    if wish.kind:
        chosen = chosen.filter(kind=wish.kind)
    listed = [(one, versions) for one in list_datasets(chosen) if (versions := list(one.versions.all()))]
    newest = [versions[0] for _, versions in listed]
    states, owners, personal = states_of(newest), _find_owners(newest), _find_personal(newest)
    used, tokens = count_runs(project), find_token_counts(newest)
    rows = []
    for dataset, versions in listed:
        version = versions[0]
        words, found = personal.get(version.sha256, ("not checked", 0))
        rows.append(
            ListedDataset(
                dataset=dataset,
                version=version,
                state=states[version.pk],
                owners=owners.get(version.pk, []),
                tokens=tokens.get(version.sha256),
                personal=words,
                personal_found=found,
                runs=len(set().union(*(used.get(one.sha256, set()) for one in versions))),
            )
        )
    return DatasetList(
        rows=[row for row in rows if _answers(row, wish)],
        total=len(listed) if not (wish.q or wish.kind) else every.filter(versions__isnull=False).distinct().count(),
        languages=sorted({tag for row in rows for tag in row.dataset.languages}),
        licences=sorted({row.version.licence for row in rows}),
    )


def _answers(row: ListedDataset, wish: ListWish) -> bool:
    return (
        (not wish.state or row.state == wish.state)
        and (not wish.language or wish.language in row.dataset.languages)
        and (not wish.licence or row.version.licence == wish.licence)
        and (not wish.use or wish.use in row.version.uses)
    )


def _find_owners(versions: list[DatasetVersion]) -> dict[int, list[str]]:
    spans = SourceSpan.objects.filter(version__in=versions).exclude(source__owner="")
    owners: dict[int, list[str]] = {}
    for version, owner in spans.order_by("version", "source__owner").values_list("version", "source__owner").distinct():
        owners.setdefault(version, []).append(owner)
    return owners


def _find_personal(versions: list[DatasetVersion]) -> dict[str, tuple[str, int]]:
    """Hash of the rows → what the newest check for personal data says."""
    results = CheckResult.objects.filter(version__in=versions, check_name="personal")
    newest = results.filter(pk__in=results.values("version").annotate(last=Max("pk")).values("last"))
    said = {}
    for sha256, found in newest.values_list("version__sha256", "found_rows"):
        said[sha256] = (f"{found:,} row{'' if found == 1 else 's'}" if found else "none found", found)
    return said


def count_runs(project: Project) -> dict[str, set[int]]:
    """Hash of rows → runs of the project whose frozen spec holds them."""
    from chanote.runs.models import Run

    used: dict[str, set[int]] = {}
    for number, frozen in Run.objects.filter(project=project).values_list("number", "snapshot__datasets").iterator():
        for file in (frozen or {}).values():
            used.setdefault(file.get("sha256", ""), set()).add(number)
    return used
