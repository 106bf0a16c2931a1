"""Checks over REST."""

from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.boards.models import Task
from chanote.checks.checkers import CHECKS
from chanote.checks.findings import open_detail
from chanote.checks.masking import UnmaskRefused, find_mask, unmask_row
from chanote.checks.models import CheckResult
from chanote.checks.selectors import find_clean_items, findings_of_rows, newest_results, rows_found
from chanote.checks.services import ChecksRefused, start_checks
from chanote.datasets.api import find_version
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version as find_reference
from chanote.datasets.storage import StoreError, open_rows
from chanote.errands.api import ErrandAnswer

MOST_ROWS = 200


class CheckResultAnswer(serializers.ModelSerializer[CheckResult]):
    check = serializers.CharField(source="check_name")
    checker = serializers.IntegerField(source="check_version", help_text="Version of the checker.")
    configuration = serializers.DictField(help_text="Settings that it was made with.")
    counts = serializers.DictField()
    samples = serializers.ListField(child=serializers.DictField(), help_text="`code`, `row` (from 1), masked `text`.")

    class Meta:
        model = CheckResult
        fields = ("check", "checker", "rows", "found_rows", "counts", "samples", "configuration", "seconds", "created")


class DetailAnswer(CheckResultAnswer):
    detail = serializers.SerializerMethodField(help_text="Clusters of duplicates, or tasks with the items found.")

    class Meta(CheckResultAnswer.Meta):
        fields = (*CheckResultAnswer.Meta.fields, "detail")  # type: ignore[assignment]

    def get_detail(self, result: CheckResult) -> dict[str, Any]:
        return open_detail(result.detail_sha256)


class StartRequest(serializers.Serializer[Any]):
    checks = serializers.ListField(
        child=serializers.CharField(max_length=40), required=False, default=list, help_text="All when left out."
    )


class FindingsQuery(serializers.Serializer[Any]):
    code = serializers.CharField(
        max_length=40,
        required=False,
        default="",
        allow_blank=True,
        help_text="One of the codes in the `counts` of the result; every row with something to mend when left out.",
    )
    start = serializers.IntegerField(min_value=0, max_value=2**32 - 1, default=0, help_text="First row, from 0.")
    limit = serializers.IntegerField(min_value=1, max_value=MOST_ROWS, default=50)


class FindingAnswer(serializers.Serializer[Any]):
    check = serializers.CharField()
    code = serializers.CharField()
    words = serializers.CharField()
    value = serializers.IntegerField()


class FoundRow(serializers.Serializer[Any]):
    number = serializers.IntegerField(help_text="Counted from 1.")
    findings = FindingAnswer(many=True)
    content = serializers.DictField(help_text="Masked once personal data was found.")


class FoundRows(serializers.Serializer[Any]):
    rows = FoundRow(many=True)
    next_start = serializers.IntegerField(allow_null=True)


class UnmaskRequest(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, help_text="Why you must see it; the audit log keeps it.")


class UnmaskAnswer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    content = serializers.DictField()


class CleanQuery(serializers.Serializer[Any]):
    version = serializers.CharField(max_length=100, help_text="What a model learnt from: `slug@number`.")


class CleanAnswer(serializers.Serializer[Any]):
    checked = serializers.BooleanField(help_text="False: the overlap of the version with this task is not known.")
    held = serializers.DictField(
        child=serializers.FloatField(), help_text="Item → share of its runs of words and letters that the rows hold."
    )
    source = serializers.ListField(  # type: ignore[assignment]
        child=serializers.CharField(), help_text="Items whose law or passage is held."
    )
    untold = serializers.ListField(child=serializers.CharField(), help_text="Items too short to tell.")


class Checks(ProjectView):
    scope = "datasets"
    pagination_class = None

    @extend_schema(responses=CheckResultAnswer(many=True), operation_id="checks_list", tags=["checks"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """The newest result of each check of a version."""
        version = find_version(self, slug, number)
        return Response(CheckResultAnswer(list(newest_results(version).values()), many=True).data)

    @extend_schema(
        request=StartRequest,
        responses={202: ErrandAnswer},
        parameters=[PARAMETER],
        operation_id="checks_start",
        tags=["checks"],
    )
    @idempotent()
    def post(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Check a version. While checks of it run, the answer is their errand."""
        version = find_version(self, slug, number)
        try:
            errand = start_checks(version, self.read(StartRequest)["checks"], actor=request.user)
        except ChecksRefused as refused:
            raise Refused("Nothing was started.", refused.problems) from refused
        return Response(ErrandAnswer(errand).data, status=202, headers={"Location": self.link("errand", errand.pk)})


class OneCheck(ProjectView):
    scope = "datasets"

    @extend_schema(responses=DetailAnswer, operation_id="checks_read", tags=["checks"])
    def get(self, request: Any, project: str, slug: str, number: int, name: str) -> Response:
        """The newest result of one check, with its details."""
        try:
            return Response(DetailAnswer(find_result(find_version(self, slug, number), name)).data)
        except StoreError as error:
            raise Refused(str(error)) from error


class CheckRows(ProjectView):
    scope = "datasets"

    @extend_schema(parameters=[FindingsQuery], responses=FoundRows, operation_id="checks_rows", tags=["checks"])
    def get(self, request: Any, project: str, slug: str, number: int, name: str) -> Response:
        """Rows that the newest result of a check found, with what it found in them."""
        version = find_version(self, slug, number)
        result, query = find_result(version, name), self.read_query(FindingsQuery)
        code = query["code"]
        if code and code not in CHECKS[name].finds:
            known = ", ".join(CHECKS[name].finds)
            raise serializers.ValidationError({"code": f"{code!r} is nothing that {name} finds; use {known}."})
        mask, rows = find_mask(version), []
        try:
            numbers, after = rows_found(result, (code,) if code else (), start=query["start"], limit=query["limit"])
            for row in numbers:
                told = findings_of_rows(version, row, row, facts=bool(code)).get(row, [])
                content = mask.apply(next(open_rows(version, row - 1, row)))
                found = [one for one in told if one.check == name]
                rows.append({"number": row, "findings": FindingAnswer(found, many=True).data, "content": content})
        except StoreError as error:
            raise Refused(str(error)) from error
        return Response({"rows": rows, "next_start": after})


class UnmaskedRow(ProjectView):
    scope = "datasets"

    @extend_schema(request=UnmaskRequest, responses=UnmaskAnswer, operation_id="rows_unmask", tags=["checks"])
    def post(self, request: Any, project: str, slug: str, number: int, row: int) -> Response:
        """A row as it is stored. The audit log keeps who saw it and why."""
        version = find_version(self, slug, number)
        try:
            content = unmask_row(version, row, reason=self.read(UnmaskRequest)["reason"], actor=request.user)
        except UnmaskRefused as refused:
            raise Refused("Nothing was shown.", refused.problems) from refused
        return Response({"number": row, "content": content}, headers={"Cache-Control": "no-store"})


class CleanTaskItems(ProjectView):
    scope = "boards"

    @extend_schema(parameters=[CleanQuery], responses=CleanAnswer, operation_id="tasks_clean_items", tags=["checks"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Which items of a task a dataset version holds, by its newest check of the overlap."""
        task = get_object_or_404(Task, project=self.project, slug=slug, number=number)
        try:
            version = find_reference(self.project, self.read_query(CleanQuery)["version"])
        except DatasetVersion.DoesNotExist as error:
            raise serializers.ValidationError({"version": str(error)}) from error
        clean = find_clean_items(task, [version])
        return Response(
            {
                "checked": not clean.unchecked,
                "held": clean.held,
                "source": sorted(clean.source),
                "untold": sorted(clean.untold),
            }
        )


def find_result(version: DatasetVersion, name: str) -> CheckResult:
    known = name if name in CHECKS else ""
    result = CheckResult.objects.filter(version=version, check_name=known).order_by("-created", "-id").first()
    if result is None:
        raise Http404
    return result
