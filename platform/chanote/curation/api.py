"""Where versions stand, and changes to rows, over REST."""

from collections.abc import Callable
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.curation.changes import (
    apply_changes,
    drop_changes,
    find_change_set,
    preview_bulk,
    record_change,
    undo_change,
)
from chanote.curation.models import LONGEST_NOTE, Change, ChangeSet, Comment, Signature, Standing, State
from chanote.curation.operations import BULK_OPERATIONS, ROW_OPERATIONS, describe
from chanote.curation.rules import CHECKLIST
from chanote.curation.selectors import standing_of
from chanote.curation.services import (
    CHANGE,
    REVIEW,
    CurationRefused,
    add_comment,
    ask_for_review,
    refuse,
    restrict_version,
    return_version,
    sign_version,
    withdraw_version,
)
from chanote.datasets.api import find_version
from chanote.datasets.models import DatasetVersion
from chanote.datasets.storage import StoreError

OPERATIONS = (*ROW_OPERATIONS, "merge", *(one for one in BULK_OPERATIONS if one != "deduplicate"))
MOST_ROW = 2**53


class SignatureAnswer(serializers.ModelSerializer[Signature]):
    person = serializers.CharField(source="person_name")

    class Meta:
        model = Signature
        fields = ("person", "verdict", "round", "checklist", "note", "created")


class StandingAnswer(serializers.Serializer[Standing]):
    state = serializers.ChoiceField(State.choices)
    restricted = serializers.BooleanField()
    signers_needed = serializers.IntegerField()
    made_by = serializers.CharField(source="made_by.username", default="", help_text="May not sign.")
    asked_by = serializers.CharField(source="asked_by.username", default="", help_text="May not sign.")
    asked_at = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField(help_text="Of the last act.")
    signatures = serializers.SerializerMethodField()

    @extend_schema(responses=SignatureAnswer(many=True))
    def get_signatures(self, standing: Standing) -> list[dict[str, Any]]:
        given = list(Signature.objects.filter(standing=standing.pk).order_by("pk"))
        return list(SignatureAnswer(given, many=True).data)


class StandingRequest(serializers.Serializer[Any]):
    act = serializers.ChoiceField(["ask", "sign", "return", "restrict", "withdraw"])
    reason = serializers.CharField(max_length=LONGEST_NOTE, required=False, default="", allow_blank=True)
    restricted = serializers.BooleanField(required=False, default=False, help_text="Of `ask`: two people must sign.")
    checklist = serializers.ListField(
        child=serializers.ChoiceField(list(CHECKLIST.items())), required=False, default=list, max_length=20,
        help_text="Of `sign`: every point that you confirm.",
    )  # fmt: skip


class CommentAnswer(serializers.ModelSerializer[Comment]):
    author = serializers.CharField(source="author_name")

    class Meta:
        model = Comment
        fields = ("id", "row", "text", "author", "created")


class CommentRequest(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=LONGEST_NOTE)
    row = serializers.IntegerField(min_value=1, max_value=MOST_ROW, required=False, allow_null=True, default=None)


class OperationRequest(serializers.Serializer[Any]):
    op = serializers.ChoiceField(OPERATIONS)
    row = serializers.IntegerField(min_value=1, max_value=MOST_ROW, required=False, help_text="Of edit and split.")
    rows = serializers.ListField(
        child=serializers.ListField(
            child=serializers.IntegerField(min_value=1, max_value=MOST_ROW), min_length=2, max_length=2
        ),
        required=False, max_length=10_000, help_text="Pairs of a first and a last row, both included.",
    )  # fmt: skip
    merged = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MOST_ROW), required=False, max_length=100
    )
    content = serializers.DictField(required=False, help_text="Of edit and merge: the row.")
    contents = serializers.ListField(
        child=serializers.DictField(), required=False, max_length=1000, help_text="Of split."
    )
    flag = serializers.CharField(max_length=60, required=False)
    name = serializers.CharField(max_length=60, required=False, help_text="Of label.")
    value = serializers.CharField(max_length=60, required=False, allow_null=True, help_text="Null takes a label away.")
    why = serializers.CharField(max_length=LONGEST_NOTE, required=False, allow_blank=True, help_text="Of reject.")
    preview = serializers.BooleanField(default=False, help_text="Only say how many rows it is, and show some.")


class ChangeAnswer(serializers.ModelSerializer[Change]):
    operation = serializers.DictField()
    words = serializers.SerializerMethodField()

    class Meta:
        model = Change
        fields = ("number", "operation", "words", "touched", "created")

    def get_words(self, change: Change) -> str:
        return describe(change.operation)


class ChangedRowAnswer(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    before = serializers.DictField()
    after = serializers.ListField(child=serializers.DictField())


class PreviewAnswer(serializers.Serializer[Any]):
    rows = serializers.IntegerField()
    skipped = serializers.IntegerField(help_text="Rows that were asked for and are gone already.")
    samples = ChangedRowAnswer(many=True)


class ApplyRequest(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500)


class AppliedAnswer(serializers.Serializer[DatasetVersion]):
    version = serializers.CharField(source="reference", help_text="`slug@number`, a draft.")
    rows = serializers.IntegerField()
    sha256 = serializers.CharField()


NEEDS = {
    "edit": ("row", "content"), "split": ("row", "contents"), "merge": ("merged", "content"), "reject": ("rows",),
    "flag": ("rows", "flag"), "unflag": ("rows", "flag"), "label": ("rows", "name", "value"),
}  # fmt: skip


class VersionView(ProjectView):
    """A view of something about one version."""

    scope = "datasets"

    def find(self) -> DatasetVersion:
        version = find_version(self, self.kwargs["slug"], self.kwargs["number"])
        version.dataset.project = self.project
        return version

    def attempt(self, act: Callable[[], Any], detail: str) -> Any:
        try:
            return act()
        except CurationRefused as refused:
            raise Refused(detail, refused.problems) from refused
        except StoreError as error:
            raise Refused(f"{detail} {error}") from error


class OneStanding(VersionView):
    @extend_schema(responses=StandingAnswer, operation_id="datasets_standing", tags=["datasets"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Where a version stands: its state, its signatures, and who may not sign."""
        return Response(StandingAnswer(standing_of(self.find())).data)

    @extend_schema(
        request=StandingRequest, responses=StandingAnswer, parameters=[PARAMETER], operation_id="datasets_review",
        tags=["datasets"],
    )  # fmt: skip
    @idempotent
    def post(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Ask for a review, sign, return, restrict or withdraw. Nobody signs what they made or asked for."""
        version, sent = self.find(), self.read(StandingRequest)
        self.require(CHANGE if sent["act"] == "ask" else REVIEW)
        reason, actor = sent["reason"], request.user
        acts: dict[str, Callable[[], Standing]] = {
            "ask": lambda: ask_for_review(version, restricted=sent["restricted"], note=reason, actor=actor),
            "sign": lambda: sign_version(version, checklist=sent["checklist"], note=reason, actor=actor),
            "return": lambda: return_version(version, reason=reason, actor=actor),
            "restrict": lambda: restrict_version(version, reason=reason, actor=actor),
            "withdraw": lambda: withdraw_version(version, reason=reason, actor=actor),
        }
        self.attempt(acts[sent["act"]], "The version stands where it stood.")
        return Response(StandingAnswer(standing_of(version)).data)


class Comments(VersionView):
    serializer_class = CommentAnswer
    queryset = Comment.objects.none()

    @extend_schema(responses=CommentAnswer(many=True), operation_id="datasets_comments", tags=["datasets"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Comments on a version and its rows, the newest first."""
        return self.answer_page(Comment.objects.filter(version=self.find()), CommentAnswer)

    @extend_schema(
        request=CommentRequest, responses={201: CommentAnswer}, parameters=[PARAMETER],
        operation_id="datasets_comment", tags=["datasets"],
    )  # fmt: skip
    @idempotent
    def post(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Comment on a version or on one of its rows."""
        version, sent = self.find(), self.read(CommentRequest)
        self.require(CHANGE)
        comment = self.attempt(lambda: add_comment(version, actor=request.user, **sent), "No comment was kept.")
        return Response(CommentAnswer(comment).data, status=201)


class Changes(VersionView):
    serializer_class = ChangeAnswer
    queryset = Change.objects.none()

    @extend_schema(responses=ChangeAnswer(many=True), operation_id="datasets_changes", tags=["datasets"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Your own draft of changes to a version, the newest first."""
        changes = Change.objects.filter(change_set=find_change_set(self.find(), request.user))
        return self.answer_page(changes, ChangeAnswer)

    @extend_schema(
        request=OperationRequest, responses={201: ChangeAnswer, 200: PreviewAnswer}, parameters=[PARAMETER],
        operation_id="datasets_change_rows", tags=["datasets"],
    )  # fmt: skip
    @idempotent
    def post(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Add one operation on rows to your draft; 200 with `preview`, which changes nothing."""
        version, sent = self.find(), self.read(OperationRequest)
        self.require(CHANGE)
        preview = sent.pop("preview")
        operation = {"op": sent["op"], **{name: sent[name] for name in NEEDS[sent["op"]] if name in sent}}
        if sent["op"] == "reject":
            operation["why"] = sent.get("why", "")

        def check() -> None:
            if missing := [name for name in NEEDS[sent["op"]] if name not in operation]:
                raise refuse(missing[0], f"The operation {sent['op']} needs {' and '.join(missing)}.")
            if preview and "rows" not in operation:
                raise refuse("preview", "Only operations on many rows have a preview.")

        self.attempt(check, "Nothing was changed.")
        if preview:
            seen = self.attempt(lambda: preview_bulk(version, operation, actor=request.user), "Nothing can be shown.")
            return Response(PreviewAnswer(mask_preview(version, seen)).data)
        change = self.attempt(lambda: record_change(version, operation, actor=request.user), "Nothing was changed.")
        return Response(ChangeAnswer(change).data, status=201)

    @extend_schema(responses={204: None}, operation_id="datasets_drop_changes", tags=["datasets"])
    def delete(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Drop your draft; the rows stay as they are."""
        draft = get_object_or_404(ChangeSet, pk=getattr(find_change_set(self.find(), request.user), "pk", 0))
        self.attempt(lambda: drop_changes(draft, actor=request.user), "The draft stays.")
        return Response(status=204)


class OneChange(VersionView):
    @extend_schema(responses={204: None}, operation_id="datasets_undo_change", tags=["datasets"])
    def delete(self, request: Any, project: str, slug: str, number: int, change: int) -> Response:
        """Take one change out of your draft."""
        draft = find_change_set(self.find(), request.user)
        found = get_object_or_404(Change, change_set=draft, number=change)
        self.attempt(lambda: undo_change(found, actor=request.user), "The change stays.")
        return Response(status=204)


class Apply(VersionView):
    @extend_schema(
        request=ApplyRequest, responses={201: AppliedAnswer}, parameters=[PARAMETER],
        operation_id="datasets_apply_changes", tags=["datasets"],
    )  # fmt: skip
    @idempotent(whole=False)
    def post(self, request: Any, project: str, slug: str, number: int) -> Response:
        """Make one version of all changes in your draft."""
        version, sent = self.find(), self.read(ApplyRequest)
        self.require(CHANGE)
        draft = get_object_or_404(ChangeSet, pk=getattr(find_change_set(version, request.user), "pk", 0))
        made = self.attempt(
            lambda: apply_changes(draft, reason=sent["reason"], actor=request.user), "No version was made."
        )
        location = self.link("dataset_version", slug, made.number)
        return Response(AppliedAnswer(made).data, status=201, headers={"Location": location})


def mask_preview(version: DatasetVersion, preview: Any) -> dict[str, Any]:
    from chanote.checks.masking import find_mask

    mask = find_mask(version)
    samples = [
        {"number": number, "before": mask.apply(before), "after": [mask.apply(one) for one in after]}
        for number, before, after in preview.samples
    ]
    return {"rows": preview.rows, "skipped": preview.skipped, "samples": samples}
