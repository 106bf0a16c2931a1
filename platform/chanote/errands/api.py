"""Errands over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.views import ProjectView
from chanote.errands.models import Errand
from chanote.errands.services import ErrandRefused, resume_errand, stop_errand
from chanote.errands.views import find_errand
from chanote.web.problems import Problem


class ErrandAnswer(serializers.ModelSerializer[Errand]):
    author = serializers.CharField(source="created_by.username", default="")

    class Meta:
        model = Errand
        fields = (
            "id", "kind", "title", "config", "state", "done", "total", "words", "cost", "result", "fault", "author",
            "created", "started", "ended",
        )  # fmt: skip


class Errands(ProjectView):
    scope = "errands"
    serializer_class = ErrandAnswer
    queryset = Errand.objects.none()

    @extend_schema(responses=ErrandAnswer(many=True), operation_id="errands_list", tags=["errands"])
    def get(self, request: Any, project: str) -> Response:
        """Long work that the platform does itself, the newest first."""
        return self.answer_page(Errand.objects.filter(project=self.project).select_related("created_by"), ErrandAnswer)


class OneErrand(ProjectView):
    scope = "errands"

    @extend_schema(responses=ErrandAnswer, operation_id="errands_read", tags=["errands"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """One errand: how far it is, what it cost, how it ended."""
        return Response(ErrandAnswer(find_errand(self.project, number)).data)


class StopErrand(ProjectView):
    scope = "errands"

    @extend_schema(request=None, responses=ErrandAnswer, operation_id="errands_stop", tags=["errands"])
    def post(self, request: Any, project: str, number: int) -> Response:
        """Ask an errand to stop; what it has done stays."""
        return act(self, number, stop_errand, "Nothing was stopped.")


class ResumeErrand(ProjectView):
    scope = "errands"

    @extend_schema(request=None, responses=ErrandAnswer, operation_id="errands_resume", tags=["errands"])
    def post(self, request: Any, project: str, number: int) -> Response:
        """Let a stopped or failed errand go on."""
        return act(self, number, resume_errand, "Nothing goes on.")


def act(view: ProjectView, number: int, service: Any, heading: str) -> Response:
    errand = find_errand(view.project, number)
    try:
        service(errand, actor=view.request.user)
    except ErrandRefused as refused:
        raise Refused(heading, [Problem("state", str(refused))]) from refused
    errand.refresh_from_db()
    return Response(ErrandAnswer(errand).data)
