"""Toolsets, tools, and the calls of a run over REST."""

from typing import Any

from django.core.validators import ProhibitNullCharactersValidator
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from pydantic import ValidationError
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from chanote.accounts.roles import require
from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.runs.api import NUMBER, find_run
from chanote.runs.rollout_masks import find_mask_of_run
from chanote.tools.call_log import STATUSES, CallWish, find_calls, mask_calls
from chanote.tools.calls import clean, store_calls
from chanote.tools.health import look
from chanote.tools.models import ToolCall, Toolset, ToolsetRevision
from chanote.tools.services import ToolsetRefused, save_toolset
from chanote.web.problems import Problem, list_pydantic_problems
from trainer.contract.tool_calls import StoredToolCall

MOST_CALLS = 1000
REFUSING = (ProhibitNullCharactersValidator, ProhibitSurrogateCharactersValidator)
TOOLSETS = Toolset.objects.prefetch_related("revisions__corpus__dataset", "revisions__created_by")


class LimitsAnswer(serializers.Serializer[Any]):
    call_seconds = serializers.FloatField(required=False)
    output_characters = serializers.IntegerField(required=False)
    top_k = serializers.IntegerField(required=False)
    turns = serializers.IntegerField(required=False)
    calls_per_turn = serializers.IntegerField(required=False)
    failed_calls = serializers.IntegerField(required=False)
    episode_seconds = serializers.FloatField(required=False)
    retries = serializers.IntegerField(required=False)
    output_cut = serializers.ChoiceField(["start", "middle", "end"], required=False)


class ToolsetRevisionAnswer(serializers.ModelSerializer[ToolsetRevision]):
    toolset = serializers.CharField(source="toolset.slug")
    tools = serializers.ListField(child=serializers.CharField())
    corpus = serializers.CharField(source="corpus.reference", default=None, allow_null=True)
    limits = LimitsAnswer()
    author = serializers.CharField(source="created_by.username", default="", help_text="Empty for the system itself.")

    class Meta:
        model = ToolsetRevision
        fields = (
            "toolset", "number", "tools", "corpus", "corpus_sha256", "corpus_sections", "limits", "image_digest",
            "address", "sha256", "message", "author", "created",
        )  # fmt: skip


class ToolsetAnswer(serializers.ModelSerializer[Toolset]):
    newest = serializers.SerializerMethodField(help_text="The newest revision.")

    class Meta:
        model = Toolset
        fields = ("slug", "title", "created", "newest")

    @extend_schema_field(ToolsetRevisionAnswer(allow_null=True))
    def get_newest(self, toolset: Toolset) -> Any:
        revision = next(iter(toolset.revisions.all()), None)
        return ToolsetRevisionAnswer(revision).data if revision else None


class SaveToolsetRequest(serializers.Serializer[Any]):
    tools = serializers.ListField(
        child=serializers.CharField(max_length=64), min_length=1, max_length=64, help_text="Names of tools."
    )
    title = serializers.CharField(max_length=160, required=False, default="", allow_blank=True)
    corpus = serializers.CharField(
        max_length=120, required=False, default="", allow_blank=True, help_text="Dataset version, `name@version`."
    )
    limits = LimitsAnswer(required=False)
    image_digest = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    address = serializers.CharField(
        max_length=300, required=False, default="", allow_blank=True, help_text="Empty: the installation's own service."
    )
    message = serializers.CharField(max_length=300, required=False, default="", allow_blank=True)


class CreateToolsetRequest(SaveToolsetRequest):
    slug = serializers.CharField(max_length=80)


class ServiceAnswer(serializers.Serializer[Any]):
    health = serializers.ChoiceField(["absent", "unreachable", "starting", "partly", "ready"], source="state")
    sentence = serializers.CharField(help_text="How the service is, and the way out where it is not well.")
    address = serializers.CharField(allow_blank=True)
    code_reason = serializers.CharField(allow_blank=True, help_text="Why code tools do not run; empty when they do.")
    facts = serializers.DictField(help_text="Corpus hash, image digest, pool and more, as the service tells them.")
    functions = serializers.ListField(child=serializers.DictField(), help_text="The tools as OpenAI function schemas.")


class CallAnswer(serializers.ModelSerializer[ToolCall]):
    attempt = serializers.IntegerField(source="attempt.number", default=None, allow_null=True)
    status = serializers.ChoiceField(STATUSES)

    class Meta:
        model = ToolCall
        fields = (
            "id", "call", "attempt", "step", "rollout", "turn", "tool", "status", "wall_ms", "arguments",
            "arguments_characters", "output", "output_characters", "at",
        )  # fmt: skip


class CallsQuery(serializers.Serializer[Any]):
    tool = serializers.CharField(max_length=80, required=False)
    status = serializers.ChoiceField(STATUSES, required=False)
    step = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)
    rollout = serializers.CharField(max_length=80, required=False, help_text="Of that step, such as `3.1`.")


class WrittenText(serializers.CharField):
    """Text that a policy or a program wrote: what no database takes is replaced, never refused."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_blank=True, trim_whitespace=False, **options)
        self.validators = [one for one in self.validators if not isinstance(one, REFUSING)]

    def to_internal_value(self, data: Any) -> str:
        return clean(super().to_internal_value(data))


class CallRow(serializers.Serializer[Any]):
    call = serializers.CharField(max_length=64, help_text="Identity within the run; sent again it changes nothing.")
    step = serializers.IntegerField(min_value=0, max_value=2**31 - 1)
    rollout = WrittenText(max_length=80)
    turn = serializers.IntegerField(required=False, **{**NUMBER, "min_value": 0})
    tool = WrittenText(min_length=1, max_length=80, help_text="As the policy named it.")
    arguments = WrittenText(help_text="As the policy wrote them.")
    status = serializers.ChoiceField(STATUSES)
    wall_ms = serializers.FloatField(min_value=0)
    output = WrittenText()
    at = serializers.FloatField(
        required=False, allow_null=True, min_value=0, max_value=2**33, help_text="Seconds since 1970, UTC."
    )


class SendCallsRequest(serializers.Serializer[Any]):
    calls = serializers.ListField(child=CallRow(), min_length=1, max_length=MOST_CALLS)


class SendCallsAnswer(serializers.Serializer[Any]):
    received = serializers.IntegerField(help_text="Calls taken, those among them that were stored before.")


class Toolsets(ProjectView):
    scope = "tools"
    serializer_class = ToolsetAnswer
    queryset = Toolset.objects.none()

    @extend_schema(responses=ToolsetAnswer(many=True), operation_id="toolsets_list", tags=["tools"])
    def get(self, request: Any, project: str) -> Response:
        """Toolsets of the project, the newest first."""
        return self.answer_page(TOOLSETS.filter(project=self.project), ToolsetAnswer)

    @extend_schema(
        request=CreateToolsetRequest,
        responses={201: ToolsetRevisionAnswer},
        parameters=[PARAMETER],
        operation_id="toolsets_create",
        tags=["tools"],
    )
    @idempotent
    def post(self, request: Any, project: str) -> Response:
        """Make a toolset with its first revision."""
        self.require("tools.change")
        given = self.read(CreateToolsetRequest)
        if Toolset.objects.filter(project=self.project, slug=given["slug"]).exists():
            message = f"the project already has a toolset named {given['slug']}; save a revision of it instead"
            raise serializers.ValidationError({"slug": message})
        return _save(self, **given)


class OneToolset(ProjectView):
    scope = "tools"

    @extend_schema(responses=ToolsetAnswer, operation_id="toolsets_read", tags=["tools"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """One toolset with its newest revision."""
        return Response(ToolsetAnswer(get_object_or_404(TOOLSETS, project=self.project, slug=slug)).data)


class ToolsetRevisions(ProjectView):
    scope = "tools"
    serializer_class = ToolsetRevisionAnswer
    queryset = ToolsetRevision.objects.none()
    page_ordering = "-number"

    @extend_schema(responses=ToolsetRevisionAnswer(many=True), operation_id="toolsets_revisions", tags=["tools"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """Revisions of a toolset, the newest first."""
        toolset = get_object_or_404(Toolset, project=self.project, slug=slug)
        rows = toolset.revisions.select_related("toolset", "corpus__dataset", "created_by")
        return self.answer_page(rows, ToolsetRevisionAnswer)

    @extend_schema(
        request=SaveToolsetRequest,
        responses={201: ToolsetRevisionAnswer, 200: ToolsetRevisionAnswer},
        parameters=[PARAMETER],
        operation_id="toolsets_save",
        tags=["tools"],
    )
    @idempotent
    def post(self, request: Any, project: str, slug: str) -> Response:
        """Save the next revision. 200 instead of 201: nothing differs from the newest one, so none was made."""
        self.require("tools.change")
        get_object_or_404(Toolset, project=self.project, slug=slug)
        return _save(self, slug=slug, **self.read(SaveToolsetRequest))


class OneToolsetRevision(ProjectView):
    scope = "tools"

    @extend_schema(responses=ToolsetRevisionAnswer, operation_id="toolsets_revision", tags=["tools"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """One revision of a toolset."""
        revisions = ToolsetRevision.objects.select_related("toolset", "corpus__dataset", "created_by")
        found = get_object_or_404(revisions, toolset__project=self.project, toolset__slug=slug, number=number)
        return Response(ToolsetRevisionAnswer(found).data)


class Tools(ProjectView):
    scope = "tools"

    @extend_schema(responses=ServiceAnswer, operation_id="tools_service", tags=["tools"])
    def get(self, request: Any, project: str) -> Response:
        """How the installation's tool service is, and the tools that it offers."""
        return Response(ServiceAnswer(look()).data)


class ToolCalls(ProjectView):
    scope = "runs"
    serializer_class = CallAnswer
    queryset = ToolCall.objects.none()
    page_ordering = "-id"

    @extend_schema(
        parameters=[CallsQuery], responses=CallAnswer(many=True), operation_id="runs_tool_calls", tags=["runs"]
    )
    def get(self, request: Any, project: str, number: int) -> Response:
        """Tool calls of a run, the newest first."""
        query = self.read_query(CallsQuery)
        if "rollout" in query and "step" not in query:
            raise serializers.ValidationError({"rollout": "names a rollout of a step; send step as well"})
        run = find_run(self, number)
        page = self.paginate_queryset(find_calls(run, CallWish(**query)).select_related("attempt")) or []
        shown = mask_calls(page, find_mask_of_run(run))
        return self.get_paginated_response(CallAnswer(shown, many=True).data)

    @extend_schema(
        request=SendCallsRequest,
        responses={200: SendCallsAnswer},
        operation_id="runs_send_tool_calls",
        tags=["runs"],
    )
    def post(self, request: Any, project: str, number: int) -> Response:
        """Send tool calls of a run, at most a thousand at once. A call that is stored already stays as it is."""
        run = find_run(self, number)
        require(request.user, "runs.launch", self.project)
        given = self.read(SendCallsRequest)["calls"]
        calls = []
        for place, one in enumerate(given):
            try:
                calls.append(StoredToolCall.model_validate(one))
            except ValidationError as error:
                raise Refused(
                    problems=[
                        Problem(f"calls[{place}].{problem.field}", problem.message)
                        for problem in list_pydantic_problems(error)
                    ]
                ) from error
        return Response({"received": store_calls(run, calls)})


def _save(view: ProjectView, **given: Any) -> Response:
    try:
        revision = save_toolset(project=view.project, author=view.request.user, **given)
    except ToolsetRefused as refused:
        raise Refused("The toolset was not saved.", refused.problems) from refused
    headers = {"Location": view.link("toolset_revision", revision.toolset.slug, revision.number)}
    return Response(ToolsetRevisionAnswer(revision).data, status=201 if revision.is_new else 200, headers=headers)
