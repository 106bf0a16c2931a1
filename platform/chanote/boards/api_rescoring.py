"""Scoring stored answers anew over REST."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.boards.models import Board, Evaluation, Task
from chanote.boards.naming import find_task
from chanote.boards.rescoring import start_rescoring
from chanote.boards.services import BoardError
from chanote.errands.api import ErrandAnswer
from chanote.web.problems import Problem


class RescoringRequest(serializers.Serializer[Any]):
    task = serializers.CharField(max_length=100, help_text="`slug` or `slug@number`: the task to score by.")
    board = serializers.CharField(
        max_length=80, required=False, default="", allow_blank=True, help_text="Board that the new score is put on."
    )


class Rescoring(ProjectView):
    scope = "boards"

    @extend_schema(
        request=RescoringRequest,
        responses={202: ErrandAnswer},
        parameters=[PARAMETER],
        operation_id="evaluations_rescore",
        tags=["boards"],
    )
    @idempotent
    def post(self, request: Any, project: str, number: int) -> Response:
        """Score stored answers by a task that judges otherwise; an errand does it, and both scores stay."""
        self.require("boards.change")
        evaluations = Evaluation.objects.select_related("task__dataset_version", "model")
        evaluation = get_object_or_404(evaluations, project=self.project, pk=number)
        given = self.read(RescoringRequest)
        board = Board.objects.filter(project=self.project, slug=given["board"]).first()
        if board is None and given["board"]:
            raise Refused(problems=[Problem("board", f"{given['board']} is no board of this project.")])
        try:
            task = find_task(self.project, given["task"])
            errand = start_rescoring(evaluation, task=task, board=board, actor=request.user)
        except Task.DoesNotExist as error:
            raise Refused(problems=[Problem("task", f"{error}.")]) from error
        except BoardError as error:
            raise Refused(str(error), [Problem("task", str(error))]) from error
        return Response(ErrandAnswer(errand).data, status=202, headers={"Location": self.link("errand", errand.pk)})
