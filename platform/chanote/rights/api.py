"""Sources, requests for exception, withdrawals and their impact over REST."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Conflict, Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.datasets.models import DatasetVersion, Use
from chanote.datasets.selectors import find_version
from chanote.datasets.storage import StoreError
from chanote.errands.api import ErrandAnswer
from chanote.models.models import Model
from chanote.recipes.models import Recipe
from chanote.rights.exceptions import (
    RightsRefused,
    approve_exception,
    refuse_exception,
    request_exception,
    revoke_exception,
    take_back_exception,
)
from chanote.rights.impact import Impact, find_impact_of_row, find_impact_of_source
from chanote.rights.models import ExceptionRequest, Source, WithdrawnRow
from chanote.rights.retraining import start_retraining
from chanote.rights.rows import mark_row
from chanote.rights.sources import change_source, create_source
from chanote.rights.withdrawal import withdraw_row, withdraw_source
from chanote.web.problems import Problem

TEXT: dict[str, Any] = {"required": False, "allow_blank": True}


class SourceAnswer(serializers.ModelSerializer[Source]):
    uses = serializers.ListField(child=serializers.CharField(), help_text="What its owner agreed to.")
    languages = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Source
        fields = (
            "slug", "title", "licence", "legal_basis", "uses", "non_commercial", "jurisdiction", "owner", "contact",
            "collected", "expires", "languages", "origin", "withdrawn", "withdrawal_reason", "created",
        )  # fmt: skip


class SourceFacts(serializers.Serializer[Any]):
    title = serializers.CharField(max_length=160, **TEXT)
    licence = serializers.CharField(max_length=80, help_text="SPDX.", **TEXT)
    legal_basis = serializers.CharField(max_length=200, **TEXT)
    uses = serializers.ListField(child=serializers.ChoiceField(Use.choices), required=False)
    non_commercial = serializers.BooleanField(required=False)
    jurisdiction = serializers.CharField(max_length=80, **TEXT)
    owner = serializers.CharField(max_length=200, **TEXT)
    contact = serializers.CharField(max_length=200, **TEXT)
    collected = serializers.DateField(required=False, allow_null=True)
    expires = serializers.DateField(required=False, allow_null=True)
    languages = serializers.ListField(child=serializers.CharField(max_length=35), required=False)
    origin = serializers.CharField(**TEXT)


class SourceRequest(SourceFacts):
    slug = serializers.CharField(max_length=80)


class SourceChange(SourceFacts):
    reason = serializers.CharField(max_length=2000)


class ReasonRequest(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000)


class NoteRequest(serializers.Serializer[Any]):
    note = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)


class RetrainRequest(serializers.Serializer[Any]):
    recipe = serializers.CharField(max_length=80, help_text="Slug of the recipe to draft anew.")


class ExceptionAnswer(serializers.ModelSerializer[ExceptionRequest]):
    version = serializers.CharField(source="version.reference", default="")
    model = serializers.CharField(source="model.slug", default="")
    requested_by = serializers.CharField(source="requested_by.username")
    decided_by = serializers.CharField(source="decided_by.username", default="")
    live = serializers.BooleanField(source="is_live", help_text="Lets its use pass today.")

    class Meta:
        model = ExceptionRequest
        fields = (
            "id", "version", "model", "use", "reason", "until", "state", "live", "created", "requested_by", "decided",
            "decided_by", "decision_note", "ended", "ended_reason",
        )  # fmt: skip


class ExceptionAsked(serializers.Serializer[Any]):
    version = serializers.CharField(max_length=100, help_text="`slug@number`; or a model.", **TEXT)
    model = serializers.CharField(max_length=120, **TEXT)
    use = serializers.ChoiceField(Use.choices)
    reason = serializers.CharField(max_length=2000)
    until = serializers.DateField()


class ImpactAnswer(serializers.Serializer[Any]):
    versions = serializers.ListField(child=serializers.DictField(), help_text="`version` and `rows` in words.")
    made_from = serializers.ListField(child=serializers.CharField())
    runs = serializers.ListField(child=serializers.DictField(), help_text="`run`, `name`, `state` and `how`.")
    checkpoints = serializers.ListField(child=serializers.DictField())
    models = serializers.ListField(child=serializers.CharField())
    tasks = serializers.ListField(child=serializers.CharField())
    evaluations = serializers.ListField(child=serializers.DictField())
    boards = serializers.ListField(child=serializers.CharField())
    toolsets = serializers.ListField(child=serializers.CharField())
    label_exports = serializers.ListField(child=serializers.CharField())
    exports = serializers.ListField(child=serializers.DictField())


class WithdrawnRowAnswer(serializers.ModelSerializer[WithdrawnRow]):
    version = serializers.CharField(source="version.reference")

    class Meta:
        model = WithdrawnRow
        fields = ("version", "number", "sha256", "reason", "withdrawn")


def describe_impact(impact: Impact) -> dict[str, Any]:
    """For programs: names in place of rows of tables."""
    return {
        "versions": [{"version": hit.version.reference, "rows": hit.rows} for hit in impact.versions],
        "made_from": [version.reference for version in impact.made_from],
        "runs": [
            {"run": hit.run.number, "name": hit.run.name, "state": hit.run.state, "how": hit.how} for hit in impact.runs
        ],
        "checkpoints": [
            {"run": one.run.number, "step": one.step, "sha256": one.sha256, "removed": one.removed is not None}
            for one in impact.checkpoints
        ],
        "models": [model.slug for model in impact.models],
        "tasks": [task.reference for task in impact.tasks],
        "evaluations": [
            {"id": one.pk, "task": one.task.reference, "model": one.model.slug} for one in impact.evaluations
        ],
        "boards": [board.slug for board in impact.boards],
        "toolsets": [revision.reference for revision in impact.toolsets],
        "label_exports": [one.version.reference for one in impact.label_exports],
        "exports": [{"verb": one.verb, "what": one.object_name, "at": one.at.isoformat()} for one in impact.exports],
    }


def refused(error: RightsRefused) -> Refused:
    return Refused(str(error), error.problems)


class RightsView(ProjectView):
    scope = "rights"

    def source(self, slug: str) -> Source:
        return get_object_or_404(Source.objects.select_related("project"), project=self.project, slug=slug)

    def version(self, slug: str, number: int) -> DatasetVersion:
        versions = DatasetVersion.objects.select_related("dataset__project")
        return get_object_or_404(versions, dataset__project=self.project, dataset__slug=slug, number=number)

    def retrain(self, sources: list[Source]) -> Response:
        recipe = get_object_or_404(Recipe, project=self.project, slug=self.read(RetrainRequest)["recipe"])
        try:
            errand = start_retraining(recipe, sources=sources, actor=self.request.user)
        except RightsRefused as error:
            raise refused(error) from error
        return Response(ErrandAnswer(errand).data, status=202, headers={"Location": self.link("errand", errand.pk)})


class Sources(RightsView):
    serializer_class = SourceAnswer
    queryset = Source.objects.none()

    @extend_schema(responses=SourceAnswer(many=True), operation_id="sources_list", tags=["rights"])
    def get(self, request: Any, project: str) -> Response:
        """Sources of the project, the newest first."""
        return self.answer_page(Source.objects.filter(project=self.project), SourceAnswer)

    @extend_schema(
        request=SourceRequest,
        responses={201: SourceAnswer},
        parameters=[PARAMETER],
        operation_id="sources_create",
        tags=["rights"],
    )
    @idempotent
    def post(self, request: Any, project: str) -> Response:
        """Make a source."""
        try:
            source = create_source(project=self.project, actor=request.user, **self.read(SourceRequest))
        except RightsRefused as error:
            raise refused(error) from error
        headers = {"Location": self.link("source", source.slug)}
        return Response(SourceAnswer(source).data, status=201, headers=headers)


class OneSource(RightsView):
    @extend_schema(responses=SourceAnswer, operation_id="sources_read", tags=["rights"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """One source."""
        return Response(SourceAnswer(self.source(slug)).data)

    @extend_schema(request=SourceChange, responses=SourceAnswer, operation_id="sources_change", tags=["rights"])
    def patch(self, request: Any, project: str, slug: str) -> Response:
        """Say something else of a source. To allow more than before is for curators and admins."""
        try:
            source = change_source(self.source(slug), actor=request.user, **self.read(SourceChange))
        except RightsRefused as error:
            raise refused(error) from error
        return Response(SourceAnswer(source).data)


class SourceImpact(RightsView):
    @extend_schema(responses=ImpactAnswer, operation_id="sources_impact", tags=["rights"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """Everything that used the source's rows."""
        return Response(describe_impact(find_impact_of_source(self.source(slug))))


class SourceWithdrawal(RightsView):
    @extend_schema(request=ReasonRequest, responses=SourceAnswer, operation_id="sources_withdraw", tags=["rights"])
    def post(self, request: Any, project: str, slug: str) -> Response:
        """Withdraw a source, which cannot be taken back."""
        try:
            source = withdraw_source(self.source(slug), actor=request.user, **self.read(ReasonRequest))
        except RightsRefused as error:
            raise Conflict(str(error), error.problems) from error
        return Response(SourceAnswer(source).data)


class SourceRetraining(RightsView):
    @extend_schema(
        request=RetrainRequest, responses={202: ErrandAnswer}, operation_id="sources_retrain", tags=["rights"]
    )
    def post(self, request: Any, project: str, slug: str) -> Response:
        """Draft a recipe anew without the source's rows, and without any that were withdrawn, as an errand."""
        return self.retrain([self.source(slug)])


class RowImpact(RightsView):
    @extend_schema(responses=ImpactAnswer, operation_id="rows_impact", tags=["rights"])
    def get(self, request: Any, project: str, slug: str, number: int, row: int) -> Response:
        """Everything that used a row, by its number from 1, wherever the same row stands."""
        version = self.version(slug, number)
        try:
            mark = mark_row(version, row) if 0 < row <= version.rows else None
        except StoreError as error:
            raise Refused(str(error)) from error
        if mark is None:
            raise Refused(problems=[Problem("row", f"{version.reference} has rows 1 to {version.rows:,}.")])
        return Response(describe_impact(find_impact_of_row(self.project, mark)))


class RowWithdrawal(RightsView):
    @extend_schema(
        request=ReasonRequest, responses={201: WithdrawnRowAnswer}, operation_id="rows_withdraw", tags=["rights"]
    )
    def post(self, request: Any, project: str, slug: str, number: int, row: int) -> Response:
        """Withdraw a row wherever it stands, which cannot be taken back."""
        try:
            made = withdraw_row(self.version(slug, number), row, actor=request.user, **self.read(ReasonRequest))
        except RightsRefused as error:
            raise refused(error) from error
        return Response(WithdrawnRowAnswer(made).data, status=201)


class Retraining(RightsView):
    @extend_schema(
        request=RetrainRequest, responses={202: ErrandAnswer}, operation_id="rights_retrain", tags=["rights"]
    )
    def post(self, request: Any, project: str) -> Response:
        """Draft a recipe anew without rows and sources that were withdrawn, as an errand."""
        return self.retrain([])


class Exceptions(RightsView):
    serializer_class = ExceptionAnswer
    queryset = ExceptionRequest.objects.none()

    @extend_schema(responses=ExceptionAnswer(many=True), operation_id="exceptions_list", tags=["rights"])
    def get(self, request: Any, project: str) -> Response:
        """Requests for exception, the newest first."""
        found = ExceptionRequest.objects.filter(project=self.project)
        return self.answer_page(
            found.select_related("version__dataset", "model", "requested_by", "decided_by"), ExceptionAnswer
        )

    @extend_schema(
        request=ExceptionAsked,
        responses={201: ExceptionAnswer},
        parameters=[PARAMETER],
        operation_id="exceptions_request",
        tags=["rights"],
    )
    @idempotent
    def post(self, request: Any, project: str) -> Response:
        """Ask for an exception; somebody else must approve it."""
        self.require("rights.request")
        given = self.read(ExceptionAsked)
        version, model = given.pop("version", ""), given.pop("model", "")
        subject = self._find(version, model)
        try:
            asked = request_exception(project=self.project, subject=subject, actor=request.user, **given)
        except RightsRefused as error:
            raise refused(error) from error
        headers = {"Location": self.link("exception", asked.pk)}
        return Response(ExceptionAnswer(asked).data, status=201, headers=headers)

    def _find(self, version: str, model: str) -> DatasetVersion | Model:
        if bool(version) == bool(model):
            raise Refused(problems=[Problem("version", "Name a dataset version or a model, and not both.")])
        if model:
            found = Model.objects.filter(project=self.project, slug=model).first()
            if found is None:
                raise Refused(problems=[Problem("model", f"{model} is no model of this project.")])
            return found
        try:
            if "@" not in version:
                raise DatasetVersion.DoesNotExist(f"{version} names no version; write {version}@ and its number.")
            return find_version(self.project, version)
        except DatasetVersion.DoesNotExist as error:
            raise Refused(problems=[Problem("version", str(error))]) from error


class OneException(RightsView):
    @extend_schema(responses=ExceptionAnswer, operation_id="exceptions_read", tags=["rights"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """One request for exception."""
        return Response(ExceptionAnswer(self.find(number)).data)

    def find(self, number: int) -> ExceptionRequest:
        return get_object_or_404(ExceptionRequest.objects.select_related("project"), project=self.project, pk=number)

    def act(self, number: int, do: Any, **given: Any) -> Response:
        try:
            asked = do(self.find(number), actor=self.request.user, **given)
        except RightsRefused as error:
            raise Conflict(str(error), error.problems) from error
        return Response(ExceptionAnswer(asked).data)


class Approval(OneException):
    http_method_names = ["post"]

    @extend_schema(request=NoteRequest, responses=ExceptionAnswer, operation_id="exceptions_approve", tags=["rights"])
    def post(self, request: Any, project: str, number: int) -> Response:
        """Approve somebody else's request."""
        return self.act(number, approve_exception, **self.read(NoteRequest))


class Refusing(OneException):
    http_method_names = ["post"]

    @extend_schema(request=NoteRequest, responses=ExceptionAnswer, operation_id="exceptions_refuse", tags=["rights"])
    def post(self, request: Any, project: str, number: int) -> Response:
        """Refuse somebody else's request, with the reason as note."""
        return self.act(number, refuse_exception, **self.read(NoteRequest))


class Revocation(OneException):
    http_method_names = ["post"]

    @extend_schema(request=ReasonRequest, responses=ExceptionAnswer, operation_id="exceptions_revoke", tags=["rights"])
    def post(self, request: Any, project: str, number: int) -> Response:
        """End an approved exception."""
        return self.act(number, revoke_exception, **self.read(ReasonRequest))


class TakingBack(OneException):
    http_method_names = ["post"]

    @extend_schema(request=None, responses=ExceptionAnswer, operation_id="exceptions_take_back", tags=["rights"])
    def post(self, request: Any, project: str, number: int) -> Response:
        """Take back your own request before it is decided."""
        return self.act(number, take_back_exception)
