"""Builds and endpoints over REST. A build is stopped and resumed as the errand that it is."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.building.kinds import find_kinds
from chanote.building.models import Build, TeacherEndpoint
from chanote.building.selectors import find_build, find_step, list_builds, read_dropped_page
from chanote.building.services import BuildRefused, remove_endpoint, save_endpoint, start_build
from chanote.datasets.models import Use

FLAT: dict[str, Any] = {"required": False, "allow_blank": True}


class BuildAnswer(serializers.ModelSerializer[Build]):
    config = serializers.DictField()
    errand = serializers.IntegerField(source="errand_id", help_text="Stop and resume it there.")
    state = serializers.CharField(source="errand.state")
    words = serializers.CharField(source="errand.words")
    fault = serializers.CharField(source="errand.fault")
    cost = serializers.DictField(source="errand.cost", help_text="Replies, tokens and money so far.")
    funnel = serializers.ListField(child=serializers.DictField(), help_text="Each step: in, kept, dropped, reasons.")
    result = serializers.CharField(source="result.reference", default=None, allow_null=True)
    author = serializers.CharField(source="created_by.username", default="")

    class Meta:
        model = Build
        fields = (
            "id", "kind", "title", "config", "errand", "state", "words", "fault", "cost", "funnel", "result", "author",
            "created",
        )  # fmt: skip


class BuildRequest(serializers.Serializer[Any]):
    kind = serializers.CharField(max_length=40)
    title = serializers.CharField(max_length=160, default="", **FLAT)
    config = serializers.DictField(help_text="Fields of the kind; `build-kinds/` describes them.")


class KindAnswer(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField()
    summary = serializers.CharField()
    steps = serializers.ListField(child=serializers.CharField())
    config = serializers.DictField(help_text="JSON schema.")


class KindsAnswer(serializers.Serializer[Any]):
    kinds = KindAnswer(many=True)


class DroppedQuery(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=200, default="", **FLAT)
    page = serializers.IntegerField(min_value=1, max_value=10**6, default=1)


class DroppedItem(serializers.Serializer[Any]):
    reason = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)
    part = serializers.BooleanField(default=False, help_text="A piece of an item, which itself may have gone on.")
    item = serializers.DictField()


class DroppedAnswer(serializers.Serializer[Any]):
    total = serializers.IntegerField(help_text="Of the step, whatever the reason.")
    reasons = serializers.DictField(child=serializers.IntegerField())
    items = DroppedItem(many=True)
    next_page = serializers.IntegerField(allow_null=True)


class EndpointAnswer(serializers.ModelSerializer[TeacherEndpoint]):
    uses = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = TeacherEndpoint
        fields = (
            "slug", "base_url", "model", "has_key", "concurrency", "seconds", "prompt_price", "completion_price",
            "currency", "most_money", "licence", "uses", "terms", "created",
        )  # fmt: skip


class EndpointRequest(serializers.Serializer[Any]):
    base_url = serializers.CharField(max_length=300)
    model = serializers.CharField(max_length=200)
    key = serializers.CharField(
        max_length=2000, help_text="Written, never read; left out: as it is; empty: removed.", **FLAT
    )
    concurrency = serializers.IntegerField(min_value=1, max_value=256, default=4)
    seconds = serializers.FloatField(min_value=1, max_value=3600, default=180)
    prompt_price = serializers.FloatField(min_value=0, max_value=1e12, default=0)
    completion_price = serializers.FloatField(min_value=0, max_value=1e12, default=0)
    currency = serializers.CharField(max_length=8, default="", **FLAT)
    most_money = serializers.FloatField(min_value=0.000001, max_value=1e15, allow_null=True, default=None)
    licence = serializers.CharField(max_length=80, default="", **FLAT)
    uses = serializers.ListField(child=serializers.ChoiceField(Use.choices), max_length=8, default=list)
    terms = serializers.CharField(max_length=10_000, default="", **FLAT)


class NewEndpointRequest(EndpointRequest):
    slug = serializers.CharField(max_length=80)


class Builds(ProjectView):
    scope = "datasets"
    serializer_class = BuildAnswer
    queryset = Build.objects.none()

    @extend_schema(responses=BuildAnswer(many=True), operation_id="builds_list", tags=["builds"])
    def get(self, request: Any, project: str) -> Response:
        """Builds of the project, the newest first."""
        return self.answer_page(list_builds(self.project), BuildAnswer)

    @extend_schema(
        request=BuildRequest,
        responses={201: BuildAnswer},
        parameters=[PARAMETER],
        operation_id="builds_start",
        tags=["builds"],
    )
    @idempotent()
    def post(self, request: Any, project: str) -> Response:
        """Start a build; it ends in a dataset version."""
        self.require("datasets.change")
        asked = self.read(BuildRequest)
        try:
            build = start_build(project=self.project, actor=request.user, **asked)
        except BuildRefused as refused:
            raise Refused(str(refused), refused.problems) from refused
        return Response(BuildAnswer(build).data, status=201, headers={"Location": self.link("build", build.pk)})


class OneBuild(ProjectView):
    scope = "datasets"

    @extend_schema(responses=BuildAnswer, operation_id="builds_read", tags=["builds"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """One build: its funnel, its cost, its result."""
        return Response(BuildAnswer(find_build(self.project, number)).data)


class DroppedItems(ProjectView):
    scope = "datasets"

    @extend_schema(parameters=[DroppedQuery], responses=DroppedAnswer, operation_id="builds_dropped", tags=["builds"])
    def get(self, request: Any, project: str, number: int, step: str) -> Response:
        """What a step of a build dropped, with the reasons."""
        build = find_build(self.project, number)
        told = find_step(build, step)
        query = self.read_query(DroppedQuery)
        page = read_dropped_page(build, step, reason=query["reason"], number=query["page"])
        answer = {
            "total": told.get("dropped", 0),
            "reasons": {**told.get("reasons", {}), **told.get("parts", {})},
            "items": page.items,
            "next_page": page.number + 1 if page.has_next else None,
        }
        return Response(DroppedAnswer(answer).data)


class BuildKinds(ProjectView):
    scope = "datasets"

    @extend_schema(responses=KindsAnswer, operation_id="builds_kinds", tags=["builds"])
    def get(self, request: Any, project: str) -> Response:
        """Kinds of builds, each with the schema of its settings."""
        _ = self.project
        kinds = [
            {
                "name": kind.name,
                "title": kind.title,
                "summary": kind.summary,
                "steps": [step.title for step in kind.steps],
                "config": kind.config_class.model_json_schema(),
            }
            for kind in find_kinds().values()
        ]
        return Response(KindsAnswer({"kinds": kinds}).data)


class Endpoints(ProjectView):
    scope = "datasets"
    serializer_class = EndpointAnswer
    queryset = TeacherEndpoint.objects.none()

    @extend_schema(responses=EndpointAnswer(many=True), operation_id="endpoints_list", tags=["builds"])
    def get(self, request: Any, project: str) -> Response:
        """Models that may write data for the project."""
        return self.answer_page(TeacherEndpoint.objects.filter(project=self.project), EndpointAnswer)

    @extend_schema(
        request=NewEndpointRequest,
        responses={201: EndpointAnswer},
        parameters=[PARAMETER],
        operation_id="endpoints_save",
        tags=["builds"],
    )
    @idempotent()
    def post(self, request: Any, project: str) -> Response:
        """Make an endpoint, or change the one of this name."""
        self.require("endpoints.change")
        asked = self.read(NewEndpointRequest)
        try:
            row = save_endpoint(project=self.project, actor=request.user, **asked)
        except BuildRefused as refused:
            raise Refused(str(refused), refused.problems) from refused
        location = self.link("endpoint", row.slug)
        return Response(EndpointAnswer(row).data, status=201, headers={"Location": location})


class OneEndpoint(ProjectView):
    scope = "datasets"

    @extend_schema(responses=EndpointAnswer, operation_id="endpoints_read", tags=["builds"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """One endpoint. Its key is never shown."""
        return Response(EndpointAnswer(self.find(slug)).data)

    @extend_schema(responses={204: None}, operation_id="endpoints_remove", tags=["builds"])
    def delete(self, request: Any, project: str, slug: str) -> Response:
        """Remove an endpoint and its key."""
        self.require("endpoints.change")
        remove_endpoint(self.find(slug), actor=request.user)
        return Response(status=204)

    def find(self, slug: str) -> TeacherEndpoint:
        return get_object_or_404(TeacherEndpoint, project=self.project, slug=slug)
