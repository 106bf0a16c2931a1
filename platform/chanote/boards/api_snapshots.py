"""Frozen boards over REST."""

from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.boards.cleaning import Clean
from chanote.boards.models import Board, SharedLink, Snapshot
from chanote.boards.services import BoardError
from chanote.boards.sharing import grant_link, revoke_link
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


class SharedLinkAnswer(serializers.ModelSerializer[SharedLink]):
    state = serializers.CharField(help_text="open, expired or revoked.")

    class Meta:
        model = SharedLink
        fields = ("id", "with_items", "created", "expires", "revoked", "state")


class GrantedLink(SharedLinkAnswer):
    address = serializers.CharField(help_text="Told this once: only its hash is kept.")

    class Meta(SharedLinkAnswer.Meta):
        fields = (*SharedLinkAnswer.Meta.fields, "address")  # type: ignore[assignment]


class LinkRequest(serializers.Serializer[Any]):
    with_items = serializers.BooleanField(
        required=False, default=False, help_text="Questions and answers too, where rights let them be published."
    )
    expires = serializers.DateTimeField(required=False, default=None, allow_null=True)


class SnapshotLinks(ProjectView):
    scope = "boards"
    serializer_class = SharedLinkAnswer
    queryset = SharedLink.objects.none()

    @extend_schema(responses=SharedLinkAnswer(many=True), operation_id="snapshots_links", tags=["boards"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Public links to a snapshot, the newest first."""
        return self.answer_page(SharedLink.objects.filter(snapshot=self._find(slug, number)), SharedLinkAnswer)

    @extend_schema(request=LinkRequest, responses={201: GrantedLink}, operation_id="snapshots_share", tags=["boards"])
    def post(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Grant a public link. Not idempotent, since its address is kept nowhere."""
        self.require("boards.publish")
        snapshot = self._find(slug, number)
        try:
            link, token = grant_link(snapshot, actor=request.user, **self.read(LinkRequest))
        except BoardError as error:
            raise Refused(str(error), error.problems) from error
        address = request.build_absolute_uri(reverse("shared_boards:board", args=[token]))
        told = {**SharedLinkAnswer(link).data, "address": address}
        return Response(told, status=201, headers={"Cache-Control": "no-store"})

    def _find(self, slug: str, number: int) -> Snapshot:
        return get_object_or_404(Snapshot, board__project=self.project, board__slug=slug, number=number)


class OneSnapshotLink(ProjectView):
    scope = "boards"

    @extend_schema(responses=SharedLinkAnswer, operation_id="snapshots_unshare", tags=["boards"])
    def delete(self, request: Any, project: str, slug: str, number: int, link: int) -> Response:
        """Revoke a public link: its address answers 404 from now on."""
        self.require("boards.publish")
        found = get_object_or_404(
            SharedLink,
            snapshot__board__project=self.project,
            snapshot__board__slug=slug,
            snapshot__number=number,
            pk=link,
        )
        return Response(SharedLinkAnswer(revoke_link(found, actor=request.user)).data)
