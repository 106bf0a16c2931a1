"""Judges, agreement and labels over REST."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.boards.judging.battles import hold_tournament
from chanote.boards.judging.describe import describe_calibration, describe_correction
from chanote.boards.judging.judges import compare_judges
from chanote.boards.judging.models import AnswerLabel, VotesFile
from chanote.boards.judging.recipes import compare_board_recipes
from chanote.boards.judging.selectors import JudgedTask, choose_task, find_judged_tasks
from chanote.boards.judging.services import import_votes, label_answer
from chanote.boards.models import Board, Sample
from chanote.boards.selectors import calibrate_table, read_board
from chanote.boards.services import BoardError
from chanote.web.problems import Problem


class JudgingAnswer(serializers.Serializer[Any]):
    task = serializers.CharField()
    judging = serializers.DictField(help_text="As in the board's table.")
    corrected = serializers.DictField(help_text="By model: its estimate as people would have it, with the method.")
    judges = serializers.ListField(child=serializers.DictField(), help_text="Each judge: judged, failed, consistency.")
    pairs_of_judges = serializers.ListField(child=serializers.DictField(), help_text="Agreement of each two judges.")
    strengths = serializers.DictField(
        allow_null=True, help_text="Bradley-Terry strengths by model, with rank intervals; null of grades."
    )


class AnswerLabelRequest(serializers.Serializer[Any]):
    task = serializers.CharField(max_length=100, required=False, default="", allow_blank=True)
    model = serializers.CharField(max_length=120)
    item = serializers.CharField(max_length=120)
    value = serializers.FloatField(help_text="Tenths of a grade; or 1, 0.5, 0 for a win, a tie, a loss of the model.")


class AnswerLabelAnswer(serializers.ModelSerializer[AnswerLabel]):
    model = serializers.CharField(source="model.slug")

    class Meta:
        model = AnswerLabel
        fields = ("id", "model", "item", "rater", "value", "created")


class VotesRequest(serializers.Serializer[Any]):
    task = serializers.CharField(max_length=100, required=False, default="", allow_blank=True)
    name = serializers.CharField(max_length=200)
    content = serializers.CharField(help_text="The file's text: JSON lines, or a list.")
    model = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)


class VotesAnswer(serializers.ModelSerializer[VotesFile]):
    task = serializers.CharField(source="task.reference")
    skipped = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = VotesFile
        fields = ("task", "name", "sha256", "taken", "skipped", "created")


class JudgingQuery(serializers.Serializer[Any]):
    task = serializers.CharField(max_length=100, required=False, default="", help_text="`slug@number`")


class JudgedView(ProjectView):
    scope = "boards"

    def find(self, slug: str, reference: str) -> JudgedTask:
        board = get_object_or_404(Board.objects.select_related("project", "baseline"), project=self.project, slug=slug)
        one = choose_task(find_judged_tasks(board), reference)
        if one is None:
            raise NotFound(f"The board has no judged task {reference}".rstrip() + ".")
        return one


class BoardJudging(JudgedView):
    @extend_schema(parameters=[JudgingQuery], responses=JudgingAnswer, operation_id="boards_judging", tags=["boards"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """How far the judges of a task agree with people and with each other."""
        one = self.find(slug, self.read_query(JudgingQuery)["task"])
        table = read_board(one.board).tables[one.task.reference]
        found = calibrate_table(table)
        judges, pairs = compare_judges(one.task, one.judging, one.evaluations, one.family)
        held = hold_tournament(one.judging, {one.task: one.evaluations, **one.others})
        strengths = None if held is None or held.ladder is None else held.ladder.strengths
        answer = {
            "task": one.task.reference,
            "judging": describe_calibration(found),
            "corrected": {entry.name: describe_correction(found, entry.evaluation) for entry in table.entries},
            "judges": [
                {
                    "judge": judge.judge,
                    "judged": judge.judged,
                    "failed": judge.failed,
                    "mean": judge.mean,
                    "same_in_both_orders": judge.positions.share if judge.positions else None,
                }
                for judge in judges
            ],
            "pairs_of_judges": [
                {
                    "a": pair.a,
                    "b": pair.b,
                    "kappa": pair.agreement.found.kappa,
                    "low": pair.agreement.low,
                    "high": pair.agreement.high,
                    "answers": pair.agreement.found.count,
                    "apart": pair.apart,
                }
                for pair in pairs
            ],
            "strengths": None
            if strengths is None
            else {name: {**vars(strength), "rank": list(strength.rank)} for name, strength in strengths.items()},
        }
        return Response(answer)


class BoardLabels(JudgedView):
    @extend_schema(
        request=AnswerLabelRequest,
        responses={201: AnswerLabelAnswer},
        parameters=[PARAMETER],
        operation_id="boards_label",
        tags=["boards"],
    )
    @idempotent
    def post(self, request: Any, project: str, slug: str) -> Response:
        """Say what one judged answer is worth; your next word on it takes its place."""
        self.require("rollouts.label")
        given = self.read(AnswerLabelRequest)
        one = self.find(slug, given["task"])
        samples = Sample.objects.select_related("evaluation__model").filter(
            evaluation__in=[evaluation.pk for evaluation in one.evaluations], evaluation__model__slug=given["model"]
        )
        sample = samples.filter(item=given["item"]).first()
        if sample is None:
            raise Refused(problems=[Problem("item", f"{given['model']} has no answer to item {given['item']}")])
        try:
            made = label_answer(task=one.task, sample=sample, value=given["value"], actor=request.user)
        except BoardError as error:
            raise Refused(problems=[Problem("value", str(error))]) from error
        return Response(AnswerLabelAnswer(made).data, status=201)


class BoardVotes(JudgedView):
    @extend_schema(
        request=VotesRequest,
        responses={201: VotesAnswer},
        parameters=[PARAMETER],
        operation_id="boards_votes",
        tags=["boards"],
    )
    @idempotent
    def post(self, request: Any, project: str, slug: str) -> Response:
        """Import votes of people on a judged task; the same file again changes nothing."""
        self.require("boards.change")
        given = self.read(VotesRequest)
        one = self.find(slug, given["task"])
        try:
            made = import_votes(
                board=one.board,
                task=one.task,
                evaluations=one.evaluations,
                name=given["name"],
                data=given["content"].encode(),
                model=given["model"],
                actor=request.user,
            )
        except BoardError as error:
            raise Refused(str(error), [Problem("content", str(error))]) from error
        return Response(VotesAnswer(made).data, status=201)


class RecipesAnswer(serializers.Serializer[Any]):
    task = serializers.CharField()
    recipes = serializers.ListField(child=serializers.DictField())
    pairs = serializers.ListField(child=serializers.DictField())


class BoardRecipes(ProjectView):
    scope = "boards"
    pagination_class = None

    @extend_schema(responses=RecipesAnswer(many=True), operation_id="boards_recipes", tags=["boards"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """Recipes against each other on each task, by their runs with different seeds."""
        board = get_object_or_404(Board, project=self.project, slug=slug)
        return Response(
            [
                {
                    "task": one.task.reference,
                    "recipes": [
                        {
                            "recipe": recipe.name,
                            "mean": recipe.mean,
                            "spread": recipe.spread,
                            "runs": [
                                {"run": number, "seed": seed, "model": model, "mean": mean}
                                for number, seed, model, mean in recipe.runs
                            ],
                        }
                        for recipe in one.recipes
                    ],
                    "pairs": [
                        {
                            "a": pair.a,
                            "b": pair.b,
                            "delta": pair.found.delta,
                            "low": pair.found.low,
                            "high": pair.found.high,
                            "p_adjusted": pair.p,
                            "verdict": pair.verdict,
                            "sentence": pair.sentence,
                        }
                        for pair in one.pairs
                    ],
                }
                for one in compare_board_recipes(board)
            ]
        )
