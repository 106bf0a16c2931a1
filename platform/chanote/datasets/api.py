"""Datasets over REST."""

import json
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.checks.masking import find_mask
from chanote.curation.queue import read_wished
from chanote.datasets.features import NoFeatures, RowWish
from chanote.datasets.models import Dataset, DatasetVersion, Kind, Use
from chanote.datasets.reading import READERS, guess_format
from chanote.datasets.services import ImportRefused, import_dataset
from chanote.datasets.storage import StoreError
from chanote.rights.rules import read_sources_of
from chanote.rights.sources import DECLARED
from chanote.web.problems import Problem

MOST_ROWS = 200
DATASETS = Dataset.objects.prefetch_related("versions")


class SourceSlice(serializers.Serializer[Any]):
    source = serializers.CharField()  # type: ignore[assignment]
    rows = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()),
        help_text="First and last rows of its first ranges, from 1.",
    )


class VersionAnswer(serializers.ModelSerializer[DatasetVersion]):
    reference = serializers.CharField(help_text="The name recipes use: `slug@number`.")
    uses = serializers.ListField(child=serializers.CharField(), help_text="What the rights allow.")
    statistics = serializers.DictField()
    sources = serializers.SerializerMethodField(help_text="Where its rows come from.")
    operation = serializers.DictField(help_text="What made it, with all its parameters.")
    drawn_from = serializers.SerializerMethodField(help_text="Versions that rows were taken from.")
    parent = serializers.SlugRelatedField[Any](slug_field="number", read_only=True, allow_null=True)  # type: ignore[assignment]

    class Meta:
        model = DatasetVersion
        fields = (
            "number", "reference", "sha256", "rows", "bytes", "parent", "reason", "licence", "uses", "non_commercial",
            "source", "sources", "operation", "drawn_from", "statistics", "created",
        )  # fmt: skip

    @extend_schema_field(SourceSlice(many=True))
    def get_sources(self, version: DatasetVersion) -> Any:
        found = read_sources_of(version)
        slices = [{"source": one.source.slug, "rows": [list(each) for each in one.ranges]} for one in found]
        return SourceSlice(slices, many=True).data

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_drawn_from(self, version: DatasetVersion) -> list[str]:
        return [one.reference for one in version.drawn_from.select_related("dataset")]


class DatasetAnswer(serializers.ModelSerializer[Dataset]):
    languages = serializers.ListField(child=serializers.CharField())
    newest = serializers.SerializerMethodField(help_text="The newest version.")

    class Meta:
        model = Dataset
        fields = ("slug", "title", "kind", "description", "languages", "created", "newest")

    @extend_schema_field(VersionAnswer(allow_null=True))
    def get_newest(self, dataset: Dataset) -> Any:
        version = next(iter(dataset.versions.all()), None)
        return VersionAnswer(version).data if version else None


class ImportRequest(serializers.Serializer[Any]):
    slug = serializers.CharField(max_length=80)
    kind = serializers.ChoiceField(Kind.choices)
    file = serializers.FileField()
    format = serializers.ChoiceField(sorted(READERS), required=False, help_text="By the file's name when left out.")
    title = serializers.CharField(max_length=160, required=False, default="", allow_blank=True)
    description = serializers.CharField(required=False, default="", allow_blank=True)
    columns = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        help_text='JSON object from field to column, such as {"text": "body"}.',
    )
    licence = serializers.CharField(max_length=80, required=False, default="", allow_blank=True, help_text="SPDX.")
    uses = serializers.MultipleChoiceField(choices=Use.choices, required=False)
    non_commercial = serializers.BooleanField(required=False, allow_null=True, default=None)
    source = serializers.CharField(required=False, default="", allow_blank=True)  # type: ignore[assignment]
    source_name = serializers.CharField(
        max_length=80,
        required=False,
        default="",
        allow_blank=True,
        help_text="A source of the project, whose terms hold; a new name makes one of what is said here.",
    )
    legal_basis = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    owner = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    contact = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    jurisdiction = serializers.CharField(max_length=80, required=False, default="", allow_blank=True)
    collected = serializers.DateField(required=False, allow_null=True, default=None)
    expires = serializers.DateField(required=False, allow_null=True, default=None)
    languages = serializers.ListField(child=serializers.CharField(max_length=35), required=False, default=list)
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)

    def validate_columns(self, value: str) -> Any:
        if not value:
            return None
        try:
            columns = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise serializers.ValidationError("must be a JSON object") from error
        if not isinstance(columns, dict):
            raise serializers.ValidationError("must be a JSON object")
        for name, given in columns.items():
            names = given if isinstance(given, list) else [given]
            if not all(isinstance(one, str) for one in names):
                raise serializers.ValidationError(f"{name} must name a column or a list of columns")
        return columns


class RowsQuery(serializers.Serializer[Any]):
    start = serializers.IntegerField(min_value=0, max_value=2**53, default=0, help_text="First row, from 0.")
    limit = serializers.IntegerField(min_value=1, max_value=MOST_ROWS, default=50)
    q = serializers.CharField(
        max_length=200, required=False, default="", allow_blank=True, help_text="Text to look for, whatever its case."
    )
    language = serializers.CharField(
        max_length=20,
        required=False,
        default="",
        allow_blank=True,
        help_text="Such as `th`; `other` where none was found.",
    )
    flag = serializers.CharField(
        max_length=60, required=False, default="", allow_blank=True, help_text="A flag, or `any` for some flag."
    )
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=121, required=False, default="", allow_blank=True, help_text="`name` or `name=value`."
    )
    shortest = serializers.IntegerField(
        min_value=0, max_value=2**31 - 1, required=False, default=None, help_text="Characters at least."
    )
    longest = serializers.IntegerField(
        min_value=0, max_value=2**31 - 1, required=False, default=None, help_text="Characters at most."
    )


class RowAnswer(serializers.Serializer[Any]):
    number = serializers.IntegerField(help_text="Counted from 1.")
    content = serializers.DictField()


class RowsAnswer(serializers.Serializer[Any]):
    total = serializers.IntegerField(help_text="Rows of the version.")
    found = serializers.IntegerField(
        allow_null=True, help_text="Rows that answer; null where nothing was asked or not all of them were looked at."
    )
    rows = RowAnswer(many=True)
    next_start = serializers.IntegerField(allow_null=True, help_text="Where to go on; null at the end.")


class Datasets(ProjectView):
    scope = "datasets"
    serializer_class = DatasetAnswer
    queryset = Dataset.objects.none()
    parser_classes = (MultiPartParser, FormParser)

    @extend_schema(responses=DatasetAnswer(many=True), operation_id="datasets_list", tags=["datasets"])
    def get(self, request: Any, project: str) -> Response:
        """Datasets of the project."""
        return self.answer_page(DATASETS.filter(project=self.project), DatasetAnswer)

    @extend_schema(
        request={"multipart/form-data": ImportRequest},
        responses={201: VersionAnswer, 200: VersionAnswer},
        parameters=[PARAMETER],
        operation_id="datasets_import",
        tags=["datasets"],
    )
    # Reading a large file must not hold the write lock; the same rows again make no second version.
    @idempotent(whole=False)
    def post(self, request: Any, project: str) -> Response:
        """Import a file as the next version of a dataset, made when it is new: whole, or not at all.

        200 instead of 201: rows and rights are those of the newest version, so no version was made.
        """
        self.require("datasets.change")
        parsed = ImportRequest(data=request.data)
        parsed.is_valid(raise_exception=True)
        given = dict(parsed.validated_data)
        file = given.pop("file")
        # Of a form that leaves them out the fields make "none" and "no"; what was not said is for the import to decide.
        given["uses"] = [use for use in Use.values if use in given["uses"]] if "uses" in request.data else None
        given["non_commercial"] = given["non_commercial"] if "non_commercial" in request.data else None
        given["format"] = given.get("format") or guess_format(file.name or "")
        given["source_facts"] = {name: given.pop(name) for name in DECLARED}
        try:
            version = import_dataset(project=self.project, file=file, actor=request.user, **given)
        except ImportRefused as refused:
            raise Refused(str(refused), refused.problems) from refused
        unchanged = getattr(version, "unchanged", False)
        location = self.link("dataset_version", version.dataset.slug, version.number)
        return Response(VersionAnswer(version).data, status=200 if unchanged else 201, headers={"Location": location})


class OneDataset(ProjectView):
    scope = "datasets"

    @extend_schema(responses=DatasetAnswer, operation_id="datasets_read", tags=["datasets"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """One dataset with its newest version."""
        dataset = get_object_or_404(DATASETS, project=self.project, slug=slug)
        return Response(DatasetAnswer(dataset).data)


class Versions(ProjectView):
    scope = "datasets"
    serializer_class = VersionAnswer
    queryset = DatasetVersion.objects.none()
    page_ordering = "-number"

    @extend_schema(responses=VersionAnswer(many=True), operation_id="datasets_versions", tags=["datasets"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """Versions of a dataset, the newest first."""
        dataset = get_object_or_404(Dataset, project=self.project, slug=slug)
        return self.answer_page(dataset.versions.select_related("dataset", "parent"), VersionAnswer)


class OneVersion(ProjectView):
    scope = "datasets"

    @extend_schema(responses=VersionAnswer, operation_id="datasets_version", tags=["datasets"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """One version."""
        return Response(VersionAnswer(find_version(self, slug, number)).data)


class Rows(ProjectView):
    scope = "datasets"

    @extend_schema(parameters=[RowsQuery], responses=RowsAnswer, operation_id="datasets_rows", tags=["datasets"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Rows of a version from one on, or those that answer every filter; masked once personal data was found."""
        version = find_version(self, slug, number)
        query = self.read_query(RowsQuery)
        start, limit = query.pop("start"), query.pop("limit")
        wish = RowWish(text=" ".join(query.pop("q").split()), **query)
        if start >= version.rows:
            return Response({"total": version.rows, "found": None, "rows": [], "next_start": None})
        try:
            page = read_wished(version, wish, find_mask(version), start=start, size=limit)
        except NoFeatures as error:
            field = next(name for name, value in query.items() if value not in ("", None))
            sentence = (
                f"{version.reference} has {version.rows:,} rows and no table to filter them by yet; “Curate rows” on "
                "its page makes it, or look for text (q) alone."
            )
            raise Refused(sentence, [Problem(field, sentence)]) from error
        except StoreError as error:
            raise Refused(str(error)) from error
        rows = [{"number": place, "content": content} for place, content in page.rows]
        found = None if page.timed_out else page.found
        return Response({"total": page.total, "found": found, "rows": rows, "next_start": page.next_start})


def find_version(view: ProjectView, slug: str, number: int) -> DatasetVersion:
    versions = DatasetVersion.objects.select_related("dataset", "parent")
    return get_object_or_404(versions, dataset__project=view.project, dataset__slug=slug, number=number)
