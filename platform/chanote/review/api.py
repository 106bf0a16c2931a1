"""Labels, the inbox and exports over REST."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.permissions import check_scope
from chanote.api.views import ProjectView
from chanote.datasets.errors import ImportRefused
from chanote.review.exporting import KINDS, export_labels
from chanote.review.models import LONGEST_NOTE, Label, LabelExport, LabelKind, Pick
from chanote.review.rules import RULES
from chanote.review.selectors import InboxWish, LabelWish, find_labels, find_picks
from chanote.review.services import MOST, LabelRefused, set_label, withdraw_label
from chanote.review.sifting import sift_project
from chanote.runs.api import NUMBER, find_run

PLACE: dict[str, Any] = {"min_value": 0, "max_value": MOST}


class LabelAnswer(serializers.ModelSerializer[Label]):
    run = serializers.IntegerField(source="run.number")
    label = serializers.ChoiceField(LabelKind.choices)  # type: ignore[assignment]
    author = serializers.CharField(source="author_name")

    class Meta:
        model = Label
        fields = ("id", "run", "attempt", "step", "group", "index", "label", "note", "author", "created", "changed")


class LabelsQuery(serializers.Serializer[Any]):
    run = serializers.IntegerField(required=False, help_text="Number of the run.", **NUMBER)
    label = serializers.ChoiceField(LabelKind.choices, required=False)  # type: ignore[assignment]
    author = serializers.CharField(max_length=150, required=False, help_text="User name.")


class LabelRequest(serializers.Serializer[Any]):
    step = serializers.IntegerField(**PLACE)
    group = serializers.IntegerField(**PLACE)
    index = serializers.IntegerField(help_text="Place within the group.", **PLACE)
    label = serializers.ChoiceField(LabelKind.choices)  # type: ignore[assignment]
    note = serializers.CharField(max_length=LONGEST_NOTE, required=False, default="", allow_blank=True)


class ReasonAnswer(serializers.Serializer[Any]):
    rule = serializers.ChoiceField(list(RULES.items()))
    words = serializers.CharField()


class PickAnswer(serializers.ModelSerializer[Pick]):
    run = serializers.IntegerField(source="run.number")
    reasons = ReasonAnswer(many=True)

    class Meta:
        model = Pick
        fields = (
            "run", "attempt", "step", "group", "index", "reward", "tokens", "question", "answer", "reasons", "oddness",
        )  # fmt: skip


class InboxQuery(serializers.Serializer[Any]):
    cursor = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0, help_text="`next_cursor`, or 0.")
    page_size = serializers.IntegerField(min_value=1, max_value=200, default=50)
    run = serializers.IntegerField(required=False, help_text="Number of the run.", **NUMBER)
    rule = serializers.ChoiceField(list(RULES.items()), required=False)
    mine = serializers.BooleanField(default=False, help_text="Also what others have labelled and you have not.")


class InboxAnswer(serializers.Serializer[Any]):
    results = PickAnswer(many=True)
    next_cursor = serializers.IntegerField(allow_null=True, help_text="Where to go on; null at the end.")
    waiting_files = serializers.IntegerField(
        help_text="Steps that were not yet looked through; each request looks through some."
    )


class ExportRequest(serializers.Serializer[Any]):
    slug = serializers.CharField(max_length=80, help_text="Name of the dataset.")
    kind = serializers.ChoiceField([kind.value for kind in KINDS], default="chat")
    labels = serializers.ListField(
        child=serializers.ChoiceField(LabelKind.choices),
        required=False,
        min_length=1,
        max_length=len(LabelKind.values),
        help_text="Of chat rows; only good ones when left out. Rows with another may not be trained on.",
    )
    runs = serializers.ListField(
        child=serializers.IntegerField(**NUMBER), required=False, max_length=1000, help_text="Numbers; all by default."
    )
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class ExportAnswer(serializers.ModelSerializer[LabelExport]):
    version = serializers.CharField(source="version.reference", help_text="The dataset version, `slug@number`.")
    kind = serializers.CharField(source="version.dataset.kind")
    rows = serializers.IntegerField(source="version.rows")
    sha256 = serializers.CharField(source="version.sha256")
    uses = serializers.ListField(source="version.uses", child=serializers.CharField())
    source = serializers.CharField(source="version.source")  # type: ignore[assignment]
    left_out = serializers.ListField(child=serializers.CharField(), help_text="Labelled rollouts that gave no row.")
    author = serializers.CharField(source="created_by.username", default="")

    class Meta:
        model = LabelExport
        fields = (
            "id", "version", "kind", "rows", "sha256", "uses", "source", "labels", "left_out", "author", "created",
        )  # fmt: skip


class Labels(ProjectView):
    scope = "review"
    serializer_class = LabelAnswer
    queryset = Label.objects.none()

    @extend_schema(
        parameters=[LabelsQuery], responses=LabelAnswer(many=True), operation_id="review_labels", tags=["review"]
    )
    def get(self, request: Any, project: str) -> Response:
        """Labels of the project's rollouts, the newest first."""
        query = self.read_query(LabelsQuery)
        return self.answer_page(find_labels(self.project, LabelWish(**query)), LabelAnswer)


class OneLabel(ProjectView):
    scope = "review"

    @extend_schema(responses={204: None}, operation_id="review_withdraw_label", tags=["review"])
    def delete(self, request: Any, project: str, number: int) -> Response:
        """Take back your own label."""
        label = get_object_or_404(Label.objects.select_related("run__project"), run__project=self.project, pk=number)
        try:
            withdraw_label(label, actor=request.user)
        except LabelRefused as refused:
            raise Refused("The label stays.", refused.problems) from refused
        return Response(status=204)


class RunLabels(ProjectView):
    scope = "review"

    @extend_schema(
        request=LabelRequest,
        responses={201: LabelAnswer, 200: LabelAnswer},
        parameters=[PARAMETER],
        operation_id="review_label",
        tags=["review"],
    )
    @idempotent
    def post(self, request: Any, project: str, number: int) -> Response:
        """Label a rollout. 200 instead of 201: you had labelled it, and your new label took the old one's place."""
        run = find_run(self, number)
        self.require("rollouts.label")
        try:
            label = set_label(run=run, actor=request.user, **self.read(LabelRequest))
        except LabelRefused as refused:
            raise Refused("Nothing was labelled.", refused.problems) from refused
        return Response(LabelAnswer(label).data, status=201 if label.is_new else 200)


class Inbox(ProjectView):
    scope = "review"

    @extend_schema(parameters=[InboxQuery], responses=InboxAnswer, operation_id="review_inbox", tags=["review"])
    def get(self, request: Any, project: str) -> Response:
        """Rollouts with a high reward and an odd shape that nobody has labelled, the oddest first."""
        query = self.read_query(InboxQuery)
        progress = sift_project(self.project)
        wish = InboxWish(run=query.get("run"), rule=query.get("rule", ""), mine=query["mine"])
        first, size = query["cursor"], query["page_size"]
        found = list(find_picks(self.project, wish, request.user)[first : first + size + 1])
        answer = {
            "results": found[:size],
            "next_cursor": first + size if len(found) > size else None,
            "waiting_files": progress.waiting,
        }
        return Response(InboxAnswer(answer).data)


class Exports(ProjectView):
    scope = "review"
    serializer_class = ExportAnswer
    queryset = LabelExport.objects.none()

    @extend_schema(responses=ExportAnswer(many=True), operation_id="review_exports", tags=["review"])
    def get(self, request: Any, project: str) -> Response:
        """Dataset versions that were made of labels, the newest first."""
        exports = LabelExport.objects.filter(project=self.project).select_related("version__dataset", "created_by")
        return self.answer_page(exports, ExportAnswer)

    @extend_schema(
        request=ExportRequest,
        responses={201: ExportAnswer, 200: ExportAnswer},
        parameters=[PARAMETER],
        operation_id="review_export",
        tags=["review"],
    )
    @idempotent(whole=False)
    def post(self, request: Any, project: str) -> Response:
        """Make a dataset version of labels; the token also needs the scope datasets:write.

        200 instead of 201: rows and rights are those of the newest version, so no version was made.
        """
        check_scope(request.user, request.auth, "datasets", "POST")
        self.require("datasets.change")
        try:
            export = export_labels(project=self.project, actor=request.user, **self.read(ExportRequest))
        except ImportRefused as refused:
            raise Refused("Nothing was exported.", refused.problems) from refused
        return Response(ExportAnswer(export).data, status=200 if export.version.unchanged else 201)
