"""Reading a transfer package of a dataset that a stranger made: every word of it is checked before it is used."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from chanote.custody.bundle import BundleRefused, VerifiedBundle
from chanote.custody.models import Package
from chanote.datasets.canonical import LONGEST, check_row, encode_row, too_deep
from chanote.datasets.differences import MOST_ROWS
from chanote.datasets.errors import RowError
from chanote.datasets.kinds import ROW_MODELS
from chanote.datasets.models import Dataset, DatasetVersion, Kind, Use
from chanote.datasets.storage import StoreError, open_lines
from chanote.rights.models import WithdrawnRow
from chanote.web.problems import Problem, list_pydantic_problems

ROWS, SOURCES = "rows.jsonl", "sources.json"
SLUG = r"^[a-z0-9][a-z0-9_-]*$"
MOST_SOURCES = 10_000
T = TypeVar("T", bound=BaseModel)


class PackageRefused(ValueError):
    """The package was not taken, or what was asked of it cannot be done; `problems` say why."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = list(problems)
        super().__init__(" ".join(str(problem) for problem in problems))


def refuse(message: str, field: str = "") -> PackageRefused:
    return PackageRefused(Problem(field, message))


class Told(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class DatasetTold(Told):
    slug: str = Field(max_length=80, pattern=SLUG)
    title: str = Field(max_length=160)
    kind: str
    description: str = Field(default="", max_length=100_000)
    languages: list[str] = Field(default_factory=list, max_length=200)

    @field_validator("kind")
    @classmethod
    def know_kind(cls, kind: str) -> str:
        if kind not in Kind.values:
            raise ValueError(f"is not one of {', '.join(Kind.values)}")
        return kind


class Rights(Told):
    licence: str = Field(max_length=80)
    uses: list[str]
    non_commercial: bool

    @field_validator("uses")
    @classmethod
    def know_uses(cls, uses: list[str]) -> list[str]:
        if unknown := set(uses) - set(Use.values):
            raise ValueError(f"holds {sorted(unknown)[0][:40]!r}, which is none of {', '.join(Use.values)}")
        return [use for use in Use.values if use in uses]


class VersionTold(Rights):
    number: int = Field(ge=1, le=2**31 - 1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rows: int = Field(ge=1, le=2**40)
    source: str = Field(default="", max_length=100_000)
    reason: str = Field(default="", max_length=500)


class SourceTold(Rights):
    slug: str = Field(max_length=80, pattern=SLUG)
    title: str = Field(max_length=160)
    legal_basis: str = Field(default="", max_length=200)
    jurisdiction: str = Field(default="", max_length=80)
    owner: str = Field(default="", max_length=200)
    contact: str = Field(default="", max_length=200)
    collected: str | None = None
    expires: str | None = None
    languages: list[str] = Field(default_factory=list, max_length=200)
    origin: str = Field(default="", max_length=100_000)

    @field_validator("collected", "expires")
    @classmethod
    def know_day(cls, day: str | None) -> str | None:
        if day is not None:
            date.fromisoformat(day)
        return day


class SourcesTold(Told):
    sources: list[SourceTold] = Field(max_length=MOST_SOURCES)
    spans: list[tuple[str, int, int]]

    @model_validator(mode="before")
    @classmethod
    def take_lists(cls, told: Any) -> Any:
        # JSON has no tuples, and strict types take no list for one.
        spans = told.get("spans") if isinstance(told, dict) else None
        if isinstance(spans, list):
            told = {**told, "spans": [tuple(span) if isinstance(span, list) else span for span in spans]}
        return told

    @model_validator(mode="after")
    def keep_order(self) -> "SourcesTold":
        known, end = {source.slug for source in self.sources}, 0
        if len(known) < len(self.sources):
            raise ValueError("names a source twice")
        for slug, start, stop in self.spans:
            if slug not in known:
                raise ValueError(f"has rows of {slug[:80]!r}, which is none of its sources")
            if not end <= start < stop:
                raise ValueError(f"has rows {start} to {stop} out of their order")
            end = stop
        return self


class PackageTold:
    """What a verified package says of itself."""

    def __init__(self, bundle: VerifiedBundle) -> None:
        if bundle.manifest["kind"] != "dataset":
            raise refuse(
                "This is a bundle of a model, not of a dataset; register its files with `chanote model register`."
            )
        if missing := {ROWS, SOURCES} - set(bundle.manifest["files"]):
            raise refuse(f"The package lacks {sorted(missing)[0]}.")
        self.bundle = bundle
        self.dataset: DatasetTold = read_told(DatasetTold, bundle.manifest.get("dataset"), "dataset")
        self.version: VersionTold = read_told(VersionTold, bundle.manifest.get("version"), "version")
        try:
            told = json.loads(bundle.read(SOURCES))
        except (ValueError, RecursionError):
            raise refuse(f"{SOURCES} is not JSON.") from None
        except BundleRefused as refused:
            raise refuse(str(refused)) from refused
        found: SourcesTold = read_told(SourcesTold, told, SOURCES)
        self.sources, self.spans = found.sources, found.spans
        if self.spans and self.spans[-1][2] > self.version.rows:
            raise refuse(f"{SOURCES} has more rows than the package.")
        if bundle.manifest["files"][ROWS]["sha256"] != self.version.sha256:
            raise refuse(f"{ROWS} is not what the version's hash says.")

    def read_lines(self) -> Iterator[bytes]:
        """Canonical lines. Raises PackageRefused at the first that is none."""
        row_model = ROW_MODELS[self.dataset.kind]
        number = 0
        with self.bundle.open(ROWS) as raw, io.BufferedReader(raw, 1 << 20) as file:  # type: ignore[type-var]
            while line := file.readline(LONGEST + 2):
                number += 1
                try:
                    content = json.loads(line)
                    same = isinstance(content, dict) and encode_row(check_row(row_model, content).content()) == line
                except RowError as error:
                    raise refuse(f"Row {number:,} {error}.", ROWS) from error
                except (ValueError, RecursionError):
                    same = False
                if not same:
                    raise refuse(f"Row {number:,} is not written as rows of a {self.dataset.kind} dataset are.", ROWS)
                yield line
        if number != self.version.rows:
            raise refuse(f"There are {number:,} rows where the manifest says {self.version.rows:,}.", ROWS)


def read_told(shape: type[T], told: Any, field: str) -> T:
    try:
        if too_deep(told if isinstance(told, dict) else {"": told}):
            raise refuse(f"{field} is nested too deeply.", field)
        return shape.model_validate(told)
    except ValidationError as error:
        problems = [Problem(f"{field}.{one.field}".rstrip("."), one.message) for one in list_pydantic_problems(error)]
        raise PackageRefused(*problems[:20]) from None


def compare_rows(told: PackageTold, newest: DatasetVersion | None, project: Any) -> dict[str, Any]:
    """Read every row once: what of them is inside already, and which were withdrawn here.

    `newest` is the project's own version of that name; without it, or with too many rows, there are no counts.
    """
    withdrawn = set(WithdrawnRow.objects.filter(project=project).values_list("length", "sha256"))
    lengths = {length for length, _ in withdrawn}
    counted = newest is not None and max(newest.rows, told.version.rows) <= MOST_ROWS
    coming: Counter[bytes] = Counter()
    gone = 0
    for line in told.read_lines():
        text = line[:-1]
        if len(text) in lengths and (len(text), hashlib.sha256(text).hexdigest()) in withdrawn:
            gone += 1
        if counted:
            coming[hashlib.blake2b(line, digest_size=10).digest()] += 1
    found: dict[str, Any] = {"withdrawn_rows": gone, "same_rows_in": list_same(told, project)}
    if newest is None:
        return found
    found["compared_with"] = newest.reference
    if counted:
        try:
            inside = Counter(hashlib.blake2b(line, digest_size=10).digest() for line in open_lines(newest))
        except StoreError:
            return found
        found |= {
            "added": (coming - inside).total(),
            "removed": (inside - coming).total(),
            "kept": (coming & inside).total(),
        }
    return found


def list_same(told: PackageTold, project: Any) -> list[str]:
    """Versions inside that hold exactly these rows."""
    same = DatasetVersion.objects.filter(dataset__project=project, sha256=told.version.sha256)
    return [version.reference for version in same.select_related("dataset")[:20]]


def find_newest(told: PackageTold, project: Any) -> DatasetVersion | None:
    dataset = Dataset.objects.filter(project=project, slug=told.dataset.slug).first()
    return dataset.versions.order_by("-number").first() if dataset else None


def source_of_rows(spans: Sequence[tuple[str, int, int]], sources: dict[str, int], rest: int) -> Iterator[int]:
    """Primary key of the source of each row, `rest` for rows that name none; without end."""
    row = 0
    for slug, start, stop in spans:
        while row < start:
            yield rest
            row += 1
        while row < stop:
            yield sources[slug]
            row += 1
    while True:
        yield rest


def tell_package(package: Package) -> tuple[list[SourceTold], VersionTold | None]:
    """What a page shows of a package, as far as it can be read."""
    try:
        version = read_told(VersionTold, package.manifest.get("version"), "version")
        found = [read_told(SourceTold, one, "sources") for one in package.manifest.get("sources", [])]
    except PackageRefused:
        return [], None
    return found, version
