"""Tasks, boards, evaluations and their samples over REST."""

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from pydantic import ValidationError
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.boards.cleaning import Clean
from chanote.boards.masks import find_mask_of_task, leave_out_covered, mask_samples
from chanote.boards.models import Board, Evaluation, Sample, Task
from chanote.boards.selectors import describe_board, find_samples, read_board
from chanote.boards.services import BoardError, create_board, freeze_task, update_board
from chanote.datasets.models import DatasetVersion
from chanote.datasets.selectors import find_version
from chanote.models.models import Model
from chanote.web.numbers import read_number
from chanote.web.problems import Problem, list_pydantic_problems
from trainer.contract import TaskSpec

EVALUATIONS = Evaluation.objects.select_related("task", "model", "run").prefetch_related("boards")


class TaskAnswer(serializers.ModelSerializer[Task]):
    reference = serializers.CharField(help_text="`slug@number`")
    dataset = serializers.CharField(
        source="dataset_version.reference", default=None, allow_null=True, help_text="null of imported results."
    )
    definition = serializers.DictField(help_text="Field names as in lm-evaluation-harness.")

    class Meta:
        model = Task
        fields = ("slug", "number", "reference", "title", "dataset", "definition", "sha256", "created")


class TaskRequest(serializers.Serializer[Any]):
    definition = serializers.DictField(
        help_text="A `trainer.contract.TaskSpec`; `dataset` names a version to score on."
    )


class BoardAnswer(serializers.ModelSerializer[Board]):
    baseline = serializers.CharField(source="baseline.slug", default=None, allow_null=True)

    class Meta:
        model = Board
        fields = ("slug", "title", "question", "baseline", "created")


class BoardChange(serializers.Serializer[Any]):
    title = serializers.CharField(max_length=160, required=False)
    question = serializers.CharField(required=False, allow_blank=True)
    baseline = serializers.CharField(required=False, allow_blank=True, help_text="Slug of a model; empty for none.")


class BoardRequest(serializers.Serializer[Any]):
    slug = serializers.CharField(max_length=80)
    title = serializers.CharField(max_length=160, required=False, default="", allow_blank=True)
    question = serializers.CharField(required=False, default="", allow_blank=True)


class BoardTable(serializers.Serializer[Any]):
    task = serializers.CharField()
    task_sha256 = serializers.CharField()
    metric = serializers.CharField()
    higher_is_better = serializers.BooleanField()
    headline = serializers.ListField(child=serializers.CharField(), help_text="What may be said of the table.")
    note = serializers.CharField()
    clean = serializers.DictField(
        required=False, help_text="What was left out as not clean; only where it is asked for."
    )
    judging = serializers.DictField(
        allow_null=True,
        help_text="Of a task that models judge: judges, prompt, whether people's labels calibrate them, agreement.",
    )
    models = serializers.ListField(
        child=serializers.DictField(),
        help_text="Estimate, 95 % interval, items, share failed, items left out, rank interval, letters; of an agent "
        "`episodes`; in `corpus` ratios of sums over all items, with interval and method; of a judged answer "
        "`corrected`, the estimate as people would have it.",
    )
    comparisons = serializers.ListField(
        child=serializers.DictField(),
        help_text="Of each pair: difference, interval, p, verdict, a sentence; of few items the chance that "
        "a is better, by a flat prior.",
    )


class BoardQuery(serializers.Serializer[Any]):
    clean = serializers.ChoiceField(
        choices=[Clean.QUESTIONS.value, Clean.SOURCES.value],
        required=False,
        default="",
        help_text="Leave out items that stand in training data of any model on the board. questions: whose question or "
        "answer does; sources: whose law or passage does, too. Each table then says in `clean` what was left out, by "
        "which checks, and what was not checked.",
    )


class BoardDetail(BoardAnswer):
    tables = BoardTable(many=True)

    class Meta(BoardAnswer.Meta):
        fields = (*BoardAnswer.Meta.fields, "tables")  # type: ignore[assignment]


class EvaluationAnswer(serializers.ModelSerializer[Evaluation]):
    task = serializers.CharField(source="task.reference")
    model = serializers.CharField(source="model.slug")
    run = serializers.IntegerField(source="run.number", default=None, allow_null=True)
    boards = serializers.SlugRelatedField[Any](slug_field="slug", many=True, read_only=True)
    left_out = serializers.IntegerField(help_text="Items that count for nothing, since tools or a judge failed.")
    episodes = serializers.DictField(
        allow_null=True,
        help_text="Of an agent: turns, calls, tool errors, tokens, cost, and its rewards with intervals.",
    )

    class Meta:
        model = Evaluation
        fields = (
            "id", "task", "model", "run", "step", "boards", "count", "failed", "left_out", "mean", "seconds", "harness",
            "settings_sha256", "samples_sha256", "created", "episodes",
        )  # fmt: skip


class EvaluationsQuery(serializers.Serializer[Any]):
    task = serializers.CharField(max_length=100, required=False, help_text="`slug` or `slug@number`")
    model = serializers.CharField(max_length=120, required=False)
    board = serializers.CharField(max_length=80, required=False)


class SamplesQuery(serializers.Serializer[Any]):
    failed = serializers.BooleanField(
        required=False, default=False, help_text="Only those that were cut, unparsable or in error."
    )
    left_out = serializers.BooleanField(
        required=False, default=False, help_text="Only those that count for nothing, since tools or a judge failed."
    )
    q = serializers.CharField(
        max_length=200, required=False, default="", allow_blank=True, help_text="Words to look for."
    )


class SampleAnswer(serializers.ModelSerializer[Sample]):
    detail = serializers.DictField()
    episode = serializers.DictField(
        allow_null=True, help_text="Of an agent: its conversation with every call, turns, tool errors, tokens, rewards."
    )

    class Meta:
        model = Sample
        fields = ("item", "cluster", "prompt", "output", "target", "score", "status", "tokens", "detail", "episode")


class Tasks(ProjectView):
    scope = "boards"
    serializer_class = TaskAnswer
    queryset = Task.objects.none()

    @extend_schema(responses=TaskAnswer(many=True), operation_id="tasks_list", tags=["boards"])
    def get(self, request: Any, project: str) -> Response:
        """Tasks of the project, the newest first."""
        return self.answer_page(
            Task.objects.filter(project=self.project).select_related("dataset_version__dataset"), TaskAnswer
        )

    @extend_schema(
        request=TaskRequest,
        responses={201: TaskAnswer},
        parameters=[PARAMETER],
        operation_id="tasks_freeze",
        tags=["boards"],
    )
    @idempotent
    def post(self, request: Any, project: str) -> Response:
        """Freeze a task; a definition that was frozen before gives that task."""
        self.require("boards.change")
        try:
            definition = TaskSpec.model_validate(self.read(TaskRequest)["definition"])
            version = find_version(self.project, definition.dataset)
            task = freeze_task(project=self.project, definition=definition, dataset_version=version, actor=request.user)
        except ValidationError as error:
            raise Refused("The task's definition is not one.", list_pydantic_problems(error)) from error
        except DatasetVersion.DoesNotExist as error:
            raise Refused(problems=[Problem("dataset", str(error))]) from error
        except BoardError as error:
            raise Refused(str(error), error.problems) from error
        headers = {"Location": self.link("task", task.slug, task.number)}
        return Response(TaskAnswer(task).data, status=201, headers=headers)


class OneTask(ProjectView):
    scope = "boards"

    @extend_schema(responses=TaskAnswer, operation_id="tasks_read", tags=["boards"])
    def get(self, request: Any, project: str, slug: str, number: int) -> Response:
        """One task."""
        tasks = Task.objects.select_related("dataset_version__dataset")
        return Response(TaskAnswer(get_object_or_404(tasks, project=self.project, slug=slug, number=number)).data)


class Boards(ProjectView):
    scope = "boards"
    serializer_class = BoardAnswer
    queryset = Board.objects.none()

    @extend_schema(responses=BoardAnswer(many=True), operation_id="boards_list", tags=["boards"])
    def get(self, request: Any, project: str) -> Response:
        """Boards of the project, the newest first."""
        return self.answer_page(Board.objects.filter(project=self.project).select_related("baseline"), BoardAnswer)

    @extend_schema(
        request=BoardRequest,
        responses={201: BoardAnswer},
        parameters=[PARAMETER],
        operation_id="boards_create",
        tags=["boards"],
    )
    @idempotent
    def post(self, request: Any, project: str) -> Response:
        """Make a board."""
        self.require("boards.change")
        try:
            board = create_board(project=self.project, actor=request.user, **self.read(BoardRequest))
        except BoardError as error:
            raise Refused(str(error), [Problem("slug", str(error))]) from error
        headers = {"Location": self.link("board", board.slug)}
        return Response(BoardAnswer(board).data, status=201, headers=headers)


class OneBoard(ProjectView):
    scope = "boards"

    @extend_schema(parameters=[BoardQuery], responses=BoardDetail, operation_id="boards_read", tags=["boards"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """A board with a table for each task: estimates with intervals, rank intervals, and verdicts in words."""
        board = self._find(slug)
        content = read_board(board, clean=Clean(self.read_query(BoardQuery)["clean"]))
        return Response({**BoardAnswer(board).data, "tables": describe_board(content)})

    @extend_schema(request=BoardChange, responses=BoardAnswer, operation_id="boards_change", tags=["boards"])
    def patch(self, request: Any, project: str, slug: str) -> Response:
        """Change title, question or baseline."""
        self.require("boards.change")
        board = self._find(slug)
        given = self.read(BoardChange)
        baseline = board.baseline
        if "baseline" in given:
            baseline = Model.objects.filter(project=self.project, slug=given["baseline"]).first()
            if baseline is None and given["baseline"]:
                raise Refused(problems=[Problem("baseline", f"{given['baseline']} is no model of this project.")])
        title, question = given.get("title", board.title), given.get("question", board.question)
        try:
            update_board(board, title=title, question=question, baseline=baseline, actor=request.user)
        except (BoardError, DjangoValidationError) as error:
            raise Refused(str(error)) from error
        return Response(BoardAnswer(board).data)

    def _find(self, slug: str) -> Board:
        return get_object_or_404(Board.objects.select_related("baseline"), project=self.project, slug=slug)


class Evaluations(ProjectView):
    scope = "boards"
    serializer_class = EvaluationAnswer
    queryset = Evaluation.objects.none()

    @extend_schema(
        parameters=[EvaluationsQuery],
        responses=EvaluationAnswer(many=True),
        operation_id="evaluations_list",
        tags=["boards"],
    )
    def get(self, request: Any, project: str) -> Response:
        """Scores of models on tasks, the newest first."""
        query = self.read_query(EvaluationsQuery)
        found = EVALUATIONS.filter(project=self.project)
        if "task" in query:
            slug, _, number = query["task"].partition("@")
            found = found.filter(task__slug=slug)
            if number:
                found = found.filter(task__number=read_number(number) or 0)
        if "model" in query:
            found = found.filter(model__slug=query["model"])
        if "board" in query:
            found = found.filter(boards__slug=query["board"])
        return self.answer_page(found, EvaluationAnswer)


class OneEvaluation(ProjectView):
    scope = "boards"

    @extend_schema(responses=EvaluationAnswer, operation_id="evaluations_read", tags=["boards"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """One evaluation, by its id."""
        return Response(EvaluationAnswer(get_object_or_404(EVALUATIONS, project=self.project, pk=number)).data)


class Samples(ProjectView):
    scope = "boards"
    serializer_class = SampleAnswer
    queryset = Sample.objects.none()
    page_ordering = "id"

    @extend_schema(
        parameters=[SamplesQuery],
        responses=SampleAnswer(many=True),
        operation_id="evaluations_samples",
        tags=["boards"],
    )
    def get(self, request: Any, project: str, number: int) -> Response:
        """Every item as the model answered it, personal data masked, in the order of the task."""
        evaluation = get_object_or_404(Evaluation, project=self.project, pk=number)
        query = self.read_query(SamplesQuery)
        found = find_samples(evaluation, failed=query["failed"], left_out=query["left_out"], words=query["q"])
        mask = find_mask_of_task(evaluation.task)
        page = self.paginate_queryset(leave_out_covered(found, mask, query["q"])) or []
        return self.get_paginated_response(SampleAnswer(mask_samples(page, mask), many=True).data)
