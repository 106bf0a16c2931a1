"""The audit log over REST: pages of it, or the whole as a file."""

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from chanote.api.views import ProjectView
from chanote.audit.exporting import FORMATS, export_events
from chanote.audit.models import AuditEvent, AuditLink
from chanote.audit.selectors import AuditWish, find_events
from chanote.runs.api_rollouts import LinesRenderer
from chanote.web.streaming import StreamedText


class LinkAnswer(serializers.ModelSerializer[AuditLink]):
    class Meta:
        model = AuditLink
        fields = ("position", "sha256")


class AuditEventAnswer(serializers.ModelSerializer[AuditEvent]):
    detail = serializers.DictField()
    link = LinkAnswer(allow_null=True, help_text="Its place in the hash chain over the log of the installation.")

    class Meta:
        model = AuditEvent
        fields = (
            "id", "at", "actor_name", "verb", "object_kind", "object_id", "object_name", "detail", "digest", "link",
        )  # fmt: skip


class AuditQuery(serializers.Serializer[Any]):
    who = serializers.CharField(max_length=150, required=False, help_text="User name, or `system`.")
    verb = serializers.CharField(max_length=60, required=False)
    object = serializers.CharField(max_length=200, required=False, help_text="Id, or words of the name.")
    since = serializers.CharField(max_length=40, required=False, help_text="Day or moment, ISO 8601; itself within.")
    until = serializers.CharField(max_length=40, required=False, help_text="Day or moment, ISO 8601; itself within.")


class AuditFileQuery(AuditQuery):
    # `format` would choose a renderer.
    form = serializers.ChoiceField(sorted(FORMATS), default="jsonl")


def read_wish(view: ProjectView, query: dict[str, Any]) -> AuditWish:
    wish = AuditWish(**{name: value for name, value in query.items() if name != "form"})
    if wish.problems:
        raise serializers.ValidationError({problem.field: problem.message for problem in wish.problems})
    return wish


class AuditEvents(ProjectView):
    scope = "audit"
    serializer_class = AuditEventAnswer
    queryset = AuditEvent.objects.none()

    @extend_schema(
        parameters=[AuditQuery], responses=AuditEventAnswer(many=True), operation_id="audit_events", tags=["audit"]
    )
    def get(self, request: Any, project: str) -> Response:
        """Who did what in the project, the newest first."""
        wish = read_wish(self, self.read_query(AuditQuery))
        events = find_events(request.user, self.project, wish).select_related("link")
        return self.answer_page(events, AuditEventAnswer)


class AuditFile(ProjectView):
    scope = "audit"
    renderer_classes = (LinesRenderer, JSONRenderer)

    @extend_schema(
        parameters=[AuditFileQuery],
        responses={(200, content.partition(";")[0]): OpenApiTypes.STR for content in FORMATS.values()},
        operation_id="audit_file",
        tags=["audit"],
    )
    def get(self, request: Any, project: str) -> StreamingHttpResponse:
        """The same as a file, JSON lines or CSV, with all that the hash chain is over."""
        query = self.read_query(AuditFileQuery)
        events = find_events(request.user, self.project, read_wish(self, query))
        return StreamedText(export_events(events, query["form"]), content_type=FORMATS[query["form"]])
