"""Change over REST: curves over training, what a model kept and lost, and names that a gate guards."""

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.boards.aliases import create_alias, move_alias, set_suite
from chanote.boards.changes import check_suite, describe_kept, pair_evaluations, read_map
from chanote.boards.models import Alias, Board, Task
from chanote.boards.over_training import describe_curve, read_curve
from chanote.boards.selectors import read_board
from chanote.boards.services import BoardError
from chanote.models.models import Model
from chanote.runs.models import Run
from chanote.web.numbers import read_number
from chanote.web.problems import Problem


class ChangesQuery(serializers.Serializer[Any]):
    baseline = serializers.CharField(
        max_length=120, required=False, default="", help_text="Instead of the board's own."
    )
    model = serializers.CharField(
        max_length=120, required=False, default="", help_text="Of this model also what it kept and lost."
    )


class MapCell(serializers.Serializer[Any]):
    model = serializers.CharField()
    task = serializers.CharField()
    delta = serializers.FloatField(help_text="Less the baseline, in score units.")
    p = serializers.FloatField()
    q = serializers.FloatField(help_text="After Benjamini and Hochberg over the map: a place to look, not a claim.")


class KeptAnswer(serializers.Serializer[Any]):
    task = serializers.CharField()
    outcome = serializers.CharField(help_text="kept, kept_but_worse, lost or undecided.")
    sentence = serializers.CharField()
    margin = serializers.FloatField(help_text="Set beforehand, in the task.")
    delta = serializers.FloatField(allow_null=True)
    lower_bound = serializers.FloatField(allow_null=True, help_text="One-sided, 95 %, not corrected.")
    p_not_inferior = serializers.FloatField(allow_null=True, help_text="After Holm over the tasks.")
    p_worse = serializers.FloatField(allow_null=True, help_text="After Holm over the tasks.")
    items = serializers.IntegerField()
    clusters = serializers.IntegerField()
    method = serializers.CharField()


class ChangesAnswer(serializers.Serializer[Any]):
    baseline = serializers.CharField()
    map = MapCell(many=True)
    kept = KeptAnswer(many=True)


class TrainingCurveQuery(serializers.Serializer[Any]):
    task = serializers.CharField(max_length=100, help_text="`slug@number`")
    run = serializers.IntegerField(min_value=1, max_value=999_999_999)


class TrainingCurveAnswer(serializers.Serializer[Any]):
    task = serializers.CharField()
    run = serializers.IntegerField()
    looks = serializers.IntegerField(help_text="Checkpoints that were scored on the task.")
    best_step = serializers.IntegerField()
    expected_flattery = serializers.FloatField(
        help_text="How far the best would lie above its true score if all were equally good."
    )
    band = serializers.CharField()
    sentences = serializers.ListField(child=serializers.CharField())
    points = serializers.ListField(child=serializers.DictField())


class AliasAnswer(serializers.ModelSerializer[Alias]):
    model = serializers.CharField(source="model.slug", default=None, allow_null=True)
    guard = serializers.CharField(source="guard.slug")
    suite = serializers.DictField(
        child=serializers.FloatField(),
        help_text="Margin by task, in score units: on each the model must surely be worse by less.",
    )

    class Meta:
        model = Alias
        fields = ("name", "model", "guard", "suite", "against_base", "changed")


class AliasRequest(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    guard = serializers.CharField(max_length=80, help_text="Slug of the board whose tasks guard the name.")


class AliasChange(serializers.Serializer[Any]):
    model = serializers.CharField(
        max_length=120, required=False, help_text="Slug of the model that the name is to point at."
    )
    suite = serializers.DictField(
        child=serializers.FloatField(),
        required=False,
        help_text="Tasks of the guard suite as `slug@number`, each with its margin in score units; {} for none.",
    )
    against_base = serializers.BooleanField(
        required=False, help_text="Hold the suite against the guard board's baseline: nothing is forgotten."
    )


class Changes(ProjectView):
    scope = "boards"

    @extend_schema(parameters=[ChangesQuery], responses=ChangesAnswer, operation_id="boards_changes", tags=["boards"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """Every model against the baseline on every task; of one model also what it kept and lost."""
        query = self.read_query(ChangesQuery)
        board = get_object_or_404(Board.objects.select_related("baseline"), project=self.project, slug=slug)
        content = read_board(board, baseline=query["baseline"])
        if not content.baseline:
            raise serializers.ValidationError({"baseline": ["The board has no baseline with scores; name one."]})
        model = query["model"]
        if model and model not in content.tables.models():
            raise serializers.ValidationError({"model": [f"{model} has no score on this board."]})
        found = read_map(content)
        kept = check_suite(pair_evaluations(content, model, content.baseline), new=model, old=content.baseline)
        cells = [
            {"model": name, "task": task.reference, "delta": cell.comparison.delta, "p": cell.comparison.p, "q": cell.q}
            for name, row in found.rows.items()
            for task, cell in zip(found.tasks, row, strict=True)
            if cell is not None
        ]
        return Response({"baseline": content.baseline, "map": cells, "kept": describe_kept(kept)})


class OneCurve(ProjectView):
    scope = "boards"

    @extend_schema(
        parameters=[TrainingCurveQuery], responses=TrainingCurveAnswer, operation_id="boards_curve", tags=["boards"]
    )
    def get(self, request: Any, project: str, slug: str) -> Response:
        """One run's checkpoints on one task, with the number of looks and what it does to the best of them."""
        query = self.read_query(TrainingCurveQuery)
        board = get_object_or_404(Board, project=self.project, slug=slug)
        name, _, number = query["task"].partition("@")
        task = get_object_or_404(Task, project=self.project, slug=name, number=read_number(number or "1") or 0)
        run = get_object_or_404(Run, project=self.project, number=query["run"])
        found = read_curve(board, task, run)
        if found is None:
            raise Http404
        return Response(describe_curve(found))


class Aliases(ProjectView):
    scope = "boards"
    serializer_class = AliasAnswer
    queryset = Alias.objects.none()

    @extend_schema(responses=AliasAnswer(many=True), operation_id="aliases_list", tags=["boards"])
    def get(self, request: Any, project: str) -> Response:
        """Names of models, by the time they were made."""
        found = Alias.objects.filter(project=self.project).select_related("model", "guard")
        return self.answer_page(found, AliasAnswer)

    @extend_schema(
        request=AliasRequest,
        responses={201: AliasAnswer},
        parameters=[PARAMETER],
        operation_id="aliases_create",
        tags=["boards"],
    )
    @idempotent
    def post(self, request: Any, project: str) -> Response:
        """Make a name that a board guards."""
        self.require("boards.change")
        given = self.read(AliasRequest)
        guard = Board.objects.filter(project=self.project, slug=given["guard"]).first()
        if guard is None:
            raise Refused(problems=[Problem("guard", f"{given['guard']} is no board of this project.")])
        try:
            alias = create_alias(project=self.project, name=given["name"], guard=guard, actor=request.user)
        except BoardError as error:
            raise Refused(str(error), [Problem("name", str(error))]) from error
        except DjangoValidationError as error:
            raise Refused(problems=[Problem("name", " ".join(error.messages))]) from error
        return Response(AliasAnswer(alias).data, status=201, headers={"Location": self.link("alias", alias.name)})


class OneAlias(ProjectView):
    scope = "boards"

    @extend_schema(responses=AliasAnswer, operation_id="aliases_read", tags=["boards"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """One name and the model that it points at."""
        return Response(AliasAnswer(self._find(slug)).data)

    @extend_schema(request=AliasChange, responses=AliasAnswer, operation_id="aliases_move", tags=["boards"])
    def patch(self, request: Any, project: str, slug: str) -> Response:
        """Set the guard suite, or point the name at another model; refused when that fails the guard. Not both at
        once: margins are set before a model is held against them."""
        self.require("boards.change")
        alias = self._find(slug)
        given = self.read(AliasChange)
        if "model" in given and ("suite" in given or "against_base" in given):
            message = "Set the suite first and move the name afterwards: margins are set beforehand."
            raise Refused(problems=[Problem("model", message)])
        try:
            if "model" in given:
                model = Model.objects.filter(project=self.project, slug=given["model"]).first()
                if model is None:
                    raise Refused(problems=[Problem("model", f"{given['model']} is no model of this project.")])
                move_alias(alias, model, actor=request.user)
            elif given:
                against_base = given.get("against_base", alias.against_base)
                set_suite(alias, given.get("suite", alias.suite), against_base=against_base, actor=request.user)
            else:
                raise Refused(problems=[Problem("model", "Name a model, or a suite to set.")])
        except BoardError as error:
            raise Refused(str(error), error.problems or [Problem("model", str(error))]) from error
        return Response(AliasAnswer(self._find(slug)).data)

    def _find(self, slug: str) -> Alias:
        return get_object_or_404(Alias.objects.select_related("model", "guard"), project=self.project, name=slug)
