"""Frozen boards over REST."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.boards.cleaning import Clean
from chanote.boards.models import Board, Snapshot
from chanote.boards.services import BoardError
from chanote.boards.snapshots import freeze_board


class SnapshotAnswer(serializers.ModelSerializer[Snapshot]):
    class Meta:
        model = Snapshot
        fields = ("number", "reason", "sha256", "created")


class SnapshotDetail(SnapshotAnswer):
    content = serializers.DictField(help_text="As canonical JSON (sorted keys, no spaces) it has the hash `sha256`.")

    class Meta(SnapshotAnswer.Meta):
        fields = (*SnapshotAnswer.Meta.fields, "content")  # type: ignore[assignment]


class SnapshotRequest(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=300, required=False, default="", allow_blank=True)
    clean = serializers.ChoiceField(
        choices=list(Clean), required=False, default="", help_text="As of the board: questions or sources."
    )


class Snapshots(ProjectView):
    scope = "boards"
    serializer_class = SnapshotAnswer
    queryset = Snapshot.objects.none()

    @extend_schema(responses=SnapshotAnswer(many=True), operation_id="snapshots_list", tags=["boards"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """Snapshots of a board, the newest first."""
        board = get_object_or_404(Board, project=self.project, slug=slug)
        return self.answer_page(board.snapshots.defer("packed"), SnapshotAnswer)

    @extend_schema(
        request=SnapshotRequest,
        responses={201: SnapshotAnswer},
        parameters=[PARAMETER],
        operation_id="snapshots_freeze",
        tags=["boards"],
    )
    @idempotent
    def post(self, request: Any, project: str, slug: str) -> Response:
        """Freeze the board as it stands."""
        self.require("boards.change")
        board = get_object_or_404(Board.objects.select_related("project", "baseline"), project=self.project, slug=slug)
        try:
            given = self.read(SnapshotRequest)
            made = freeze_board(board, reason=given["reason"], clean=Clean(given["clean"]), actor=request.user)
        except BoardError as error:
            raise Refused(str(error)) from error
        headers = {"Location": self.link("board_snapshot", board.slug, made.number)}
        return Response(SnapshotAnswer(made).data, status=201, headers=headers)


class OneSnapshot(ProjectView):
    scope = "boards"

    @extend_schema(responses=SnapshotDetail, operation_id="snapshots_read", tags=["boards"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """One snapshot with all that it froze."""
        found = get_object_or_404(Snapshot, board__project=self.project, board__slug=slug, number=number)
        return Response(SnapshotDetail(found).data)
