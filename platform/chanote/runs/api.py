"""Runs over REST."""

from typing import Any

from django.db.models import Prefetch
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.errors import Conflict, Refused
from chanote.api.idempotency import PARAMETER, idempotent
from chanote.api.views import ProjectView
from chanote.recipes.models import Recipe
from chanote.runs.energy import read_energy
from chanote.runs.models import Attempt, Checkpoint, Run, State
from chanote.runs.queue import position_of, waiting_reason
from chanote.runs.services import (
    LaunchRefused,
    RunRefused,
    cancel_run,
    launch_run,
    move_run,
    resume_run,
    retry_run,
    stop_run,
)
from chanote.web.problems import Problem

RUNS = Run.objects.select_related("project", "owner", "base", "revision__recipe")
NUMBER: dict[str, Any] = {"min_value": 1, "max_value": 2**31 - 1}


class AttemptAnswer(serializers.ModelSerializer[Attempt]):
    state = serializers.ChoiceField(State.choices)

    class Meta:
        model = Attempt
        fields = ("number", "state", "exit_code", "fault", "queued", "started", "ended", "heartbeat")


class RunAnswer(serializers.ModelSerializer[Run]):
    state = serializers.ChoiceField(State.choices)
    recipe = serializers.CharField(source="revision.recipe.slug")
    revision = serializers.IntegerField(source="revision.number")
    base = serializers.CharField(source="base.slug", default=None, allow_null=True)
    owner = serializers.CharField(source="owner.username", default="")

    class Meta:
        model = Run
        fields = (
            "number", "id", "name", "state", "recipe", "revision", "base", "seed", "stage", "step", "total_steps",
            "fault", "notes", "owner", "created", "started", "ended",
        )  # fmt: skip


class RunDetailAnswer(RunAnswer):
    attempts = AttemptAnswer(many=True)
    queue_position = serializers.SerializerMethodField(help_text="From 1; null unless it waits.")
    waits_for = serializers.SerializerMethodField(help_text="Why it waits; empty unless it does.")
    energy = serializers.SerializerMethodField(help_text="Over all attempts; see `told` for where it comes from.")
    snapshot = serializers.DictField(help_text="Everything the result depends on, frozen at launch.")

    class Meta(RunAnswer.Meta):
        fields = (*RunAnswer.Meta.fields, "attempts", "queue_position", "waits_for", "energy", "snapshot")  # type: ignore[assignment]

    def get_queue_position(self, run: Run) -> int | None:
        return position_of(run)

    def get_energy(self, run: Run) -> dict[str, Any]:
        return read_energy(run.attempts.all()).facts()

    def get_waits_for(self, run: Run) -> str:
        return waiting_reason(run)


class RunsQuery(serializers.Serializer[Any]):
    state = serializers.ChoiceField(State.choices, required=False)
    recipe = serializers.CharField(max_length=80, required=False)
    name = serializers.CharField(max_length=120, required=False, help_text="Part of the name.")


class LaunchRequest(serializers.Serializer[Any]):
    recipe = serializers.CharField(max_length=80)
    revision = serializers.IntegerField(required=False, help_text="The newest when left out.", **NUMBER)
    name = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)
    seed = serializers.IntegerField(
        required=False, min_value=0, max_value=2**31 - 1, help_text="Instead of the recipe's own."
    )
    notes = serializers.CharField(required=False, default="", allow_blank=True)


class CancelRequest(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class ResumeRequest(serializers.Serializer[Any]):
    checkpoint = serializers.IntegerField(
        required=False, help_text="Id of a checkpoint; the newest when left out.", **NUMBER
    )


class MoveRequest(serializers.Serializer[Any]):
    position = serializers.IntegerField(help_text="Place in the queue, from 1.", **NUMBER)


class CheckpointAnswer(serializers.ModelSerializer[Checkpoint]):
    attempt = serializers.IntegerField(source="attempt.number")
    model = serializers.CharField(source="model.slug", default=None, allow_null=True, help_text="The model it became.")

    class Meta:
        model = Checkpoint
        fields = ("id", "attempt", "step", "stage", "sha256", "bytes", "stage_finished", "removed", "model", "created")


class Runs(ProjectView):
    scope = "runs"
    serializer_class = RunAnswer
    queryset = Run.objects.none()
    page_ordering = "-number"

    @extend_schema(parameters=[RunsQuery], responses=RunAnswer(many=True), operation_id="runs_list", tags=["runs"])
    def get(self, request: Any, project: str) -> Response:
        """Runs of the project, the newest first."""
        query = self.read_query(RunsQuery)
        runs = RUNS.filter(project=self.project)
        if "state" in query:
            runs = runs.filter(state=query["state"])
        if "recipe" in query:
            runs = runs.filter(revision__recipe__slug=query["recipe"])
        if "name" in query:
            runs = runs.filter(name__icontains=query["name"])
        return self.answer_page(runs, RunAnswer)

    @extend_schema(
        request=LaunchRequest,
        responses={201: RunDetailAnswer},
        parameters=[PARAMETER],
        operation_id="runs_launch",
        tags=["runs"],
    )
    @idempotent
    def post(self, request: Any, project: str) -> Response:
        """Launch a recipe: freeze everything the result depends on, and queue the run."""
        self.require("runs.launch")
        given = self.read(LaunchRequest)
        recipe = Recipe.objects.filter(project=self.project, slug=given["recipe"]).first()
        if recipe is None:
            raise Refused(problems=[Problem("recipe", f"{given['recipe']} is no recipe of this project.")])
        revisions = recipe.revisions.all()
        revision = revisions.filter(number=given["revision"]).first() if "revision" in given else revisions.first()
        if revision is None:
            raise Refused(problems=[Problem("revision", f"{recipe.slug} has no revision {given.get('revision', 1)}.")])
        try:
            run = launch_run(
                revision=revision, owner=request.user, name=given["name"], seed=given.get("seed"), notes=given["notes"]
            )
        except LaunchRefused as refused:
            raise Refused("The run cannot be launched.", refused.problems) from refused
        return answer_run(self, run, status=201)


class OneRun(ProjectView):
    scope = "runs"

    @extend_schema(responses=RunDetailAnswer, operation_id="runs_read", tags=["runs"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """One run with its attempts and its frozen spec."""
        return answer_run(self, find_run(self, number))


class RunVerb(ProjectView):
    """Something done to a run; 409 when its state forbids it."""

    scope = "runs"

    def act(self, number: int, verb: Any, **arguments: Any) -> Response:
        self.require("runs.launch")
        run = find_run(self, number)
        try:
            verb(run, actor=self.request.user, **arguments)
        except RunRefused as refused:
            raise Conflict(str(refused)) from refused
        return answer_run(self, find_run(self, number))


class Stop(RunVerb):
    @extend_schema(request=None, responses=RunDetailAnswer, operation_id="runs_stop", tags=["runs"])
    def post(self, request: Any, project: str, number: int) -> Response:
        """Save a checkpoint and stop; the run can be resumed."""
        return self.act(number, stop_run)


class Cancel(RunVerb):
    @extend_schema(request=CancelRequest, responses=RunDetailAnswer, operation_id="runs_cancel", tags=["runs"])
    def post(self, request: Any, project: str, number: int) -> Response:
        """End the run for good."""
        return self.act(number, cancel_run, reason=self.read(CancelRequest)["reason"])


class Resume(RunVerb):
    @extend_schema(
        request=ResumeRequest,
        responses=RunDetailAnswer,
        parameters=[PARAMETER],
        operation_id="runs_resume",
        tags=["runs"],
    )
    @idempotent
    def post(self, request: Any, project: str, number: int) -> Response:
        """Queue another attempt that continues from a checkpoint."""
        given = self.read(ResumeRequest)
        checkpoint = None
        if "checkpoint" in given:
            checkpoint = find_run(self, number).checkpoints.filter(pk=given["checkpoint"]).first()
            if checkpoint is None:
                raise Refused(problems=[Problem("checkpoint", "is no checkpoint of this run")])
        return self.act(number, resume_run, checkpoint=checkpoint)


class Retry(RunVerb):
    @extend_schema(
        request=None, responses=RunDetailAnswer, parameters=[PARAMETER], operation_id="runs_retry", tags=["runs"]
    )
    @idempotent
    def post(self, request: Any, project: str, number: int) -> Response:
        """Queue another attempt from the start, of the same frozen spec."""
        return self.act(number, retry_run)


class Move(ProjectView):
    scope = "runs"

    @extend_schema(request=MoveRequest, responses=RunDetailAnswer, operation_id="runs_move", tags=["queue"])
    def post(self, request: Any, project: str, number: int) -> Response:
        """Give a waiting run another place in the queue; for admins."""
        self.require("runs.order_queue")
        run = find_run(self, number)
        try:
            move_run(run, actor=request.user, position=self.read(MoveRequest)["position"])
        except RunRefused as refused:
            raise Conflict(str(refused)) from refused
        return answer_run(self, find_run(self, number))


class Checkpoints(ProjectView):
    scope = "runs"
    serializer_class = CheckpointAnswer
    queryset = Checkpoint.objects.none()

    @extend_schema(responses=CheckpointAnswer(many=True), operation_id="runs_checkpoints", tags=["runs"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """Checkpoints of a run, the newest first."""
        checkpoints = find_run(self, number).checkpoints.select_related("attempt", "model")
        return self.answer_page(checkpoints, CheckpointAnswer)


def find_run(view: ProjectView, number: int) -> Run:
    runs = RUNS.prefetch_related(Prefetch("attempts", Attempt.objects.order_by("number")))
    return get_object_or_404(runs, project=view.project, number=number)


def answer_run(view: ProjectView, run: Run, status: int = 200) -> Response:
    headers = {"Location": view.link("run", run.number)} if status == 201 else None
    return Response(RunDetailAnswer(run).data, status=status, headers=headers)
