"""Rollouts over REST: the steps that stored some, and the rollouts of one step."""

import json
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.response import Response

from chanote.api.errors import NOT_FOUND
from chanote.api.views import ProjectView
from chanote.runs.api import find_run
from chanote.runs.lineage import find_rollout_files
from chanote.runs.models import RolloutFile
from chanote.runs.rollout_files import StoredRollouts
from chanote.runs.rollout_list import RolloutWish

MOST_ROWS = 200
HEAVY = {"prompt", "tokens", "trained", "logprobs"}
"""Fields with an entry for each token."""


class RolloutStepAnswer(serializers.ModelSerializer[RolloutFile]):
    attempt = serializers.IntegerField(source="attempt.number")

    class Meta:
        model = RolloutFile
        fields = ("step", "stage", "attempt", "groups", "rollouts", "masked", "truncated", "mean_reward", "bytes")


class RolloutsQuery(serializers.Serializer[Any]):
    cursor = serializers.IntegerField(
        min_value=0, max_value=2**53, default=0, help_text="`next_cursor` of another page; 0 is the beginning."
    )
    page_size = serializers.IntegerField(min_value=1, max_value=MOST_ROWS, default=50)
    group = serializers.IntegerField(
        required=False, min_value=0, max_value=2**53, help_text="Only the rollouts of this prompt of the step."
    )
    gradient = serializers.ChoiceField(["trained", "masked"], required=False)
    ending = serializers.ChoiceField(
        ["whole", "cut"], required=False, help_text="Whether a completion ended by itself or was cut."
    )
    low = serializers.FloatField(required=False, help_text="Lowest reward.")
    high = serializers.FloatField(required=False, help_text="Highest reward.")
    q = serializers.CharField(
        max_length=200, required=False, default="", allow_blank=True, help_text="Words to look for."
    )
    tokens = serializers.BooleanField(default=True, help_text="With every token and its log-prob.")


class StoredRolloutAnswer(serializers.Serializer[Any]):
    group = serializers.IntegerField(help_text="Rollouts of one prompt share it.")
    index = serializers.IntegerField(help_text="Place within the group.")
    row = serializers.CharField(allow_blank=True, help_text="The prompt's row: dataset, version and number.")
    prompt = serializers.ListField(child=serializers.CharField(allow_blank=True), required=False)
    tokens = serializers.ListField(child=serializers.CharField(allow_blank=True), required=False)
    trained = serializers.ListField(
        child=serializers.BooleanField(), required=False, help_text="Whether a token gives a gradient."
    )
    logprobs = serializers.ListField(child=serializers.FloatField(allow_null=True), required=False)
    text = serializers.CharField(allow_blank=True)
    reference = serializers.CharField(allow_blank=True)
    rewards = serializers.DictField(child=serializers.FloatField(allow_null=True), help_text="Before their weights.")
    reward = serializers.FloatField(allow_null=True)
    advantage = serializers.FloatField(allow_null=True)
    stop_reason = serializers.CharField()
    masked = serializers.CharField(allow_blank=True, help_text="Why it gives no gradient; empty when it does.")
    detail = serializers.DictField()


class RolloutsAnswer(serializers.Serializer[Any]):
    step = serializers.IntegerField()
    attempt = serializers.IntegerField()
    results = StoredRolloutAnswer(many=True)
    next_cursor = serializers.IntegerField(allow_null=True, help_text="Where to go on; null at the end.")
    fault = serializers.CharField(allow_blank=True, help_text="What is wrong with the file; empty when nothing is.")


class RolloutSteps(ProjectView):
    scope = "runs"
    serializer_class = RolloutStepAnswer
    queryset = RolloutFile.objects.none()
    page_ordering = "-step"

    @extend_schema(responses=RolloutStepAnswer(many=True), operation_id="runs_rollout_steps", tags=["runs"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """Steps that stored rollouts, the latest first; after a resume those that led to where the run is."""
        return self.answer_page(find_rollout_files(find_run(self, number)), RolloutStepAnswer)


class Rollouts(ProjectView):
    scope = "runs"

    @extend_schema(parameters=[RolloutsQuery], responses=RolloutsAnswer, operation_id="runs_rollouts", tags=["runs"])
    def get(self, request: Any, project: str, number: int, step: int) -> Response:
        """Rollouts of one step in the order of the file, those of a prompt together."""
        query = self.read_query(RolloutsQuery)
        file = find_rollout_files(find_run(self, number)).filter(step=step).first()
        if file is None:
            raise exceptions.NotFound(NOT_FOUND)
        wish = RolloutWish(
            words=query["q"].strip(),
            gradient=query.get("gradient", ""),
            ending=query.get("ending", ""),
            low=query.get("low"),
            high=query.get("high"),
        )
        left_out = set() if query["tokens"] else HEAVY
        results: list[dict[str, Any]] = []
        next_cursor = None
        rollouts = StoredRollouts(file)
        for place, rollout in enumerate(rollouts):
            if place < query["cursor"] or rollout.group != query.get("group", rollout.group):
                continue
            if not wish.admits(rollout):
                continue
            if len(results) == query["page_size"]:
                next_cursor = place
                break
            # By way of JSON, which has null for what is no finite number.
            results.append(json.loads(rollout.model_dump_json(exclude=left_out)))
        answer = {
            "step": file.step,
            "attempt": file.attempt.number,
            "results": results,
            "next_cursor": next_cursor,
            "fault": rollouts.fault,
        }
        return Response(answer)
