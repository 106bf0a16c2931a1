"""Rollouts over REST: the steps that stored some, their list under every filter, one of them, and all as lines."""

import json
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from chanote.api.errors import NOT_FOUND
from chanote.api.views import ProjectView
from chanote.runs.api import find_run
from chanote.runs.lineage import find_rollout_files
from chanote.runs.models import RolloutFile, RolloutRow
from chanote.runs.rollout_export import HEAVY, export_rollouts, tell_rollout
from chanote.runs.rollout_files import CallsUnreadable, read_at, read_group, read_step_calls
from chanote.runs.rollout_index import list_missing
from chanote.runs.rollout_list import FLAGS, LABELS, SORTS, RolloutList, RolloutWish
from chanote.runs.rollout_masks import find_mask_of_run, mask_call, mask_rollout
from chanote.runs.rollout_words import STOPS

MOST_ROWS = 200
PATIENCE = 2.0
"""Seconds for reading steps into the list that are not in it yet."""


class RolloutStepAnswer(serializers.ModelSerializer[RolloutFile]):
    attempt = serializers.IntegerField(source="attempt.number")

    class Meta:
        model = RolloutFile
        fields = ("step", "stage", "attempt", "groups", "rollouts", "masked", "truncated", "mean_reward", "bytes")


class WishQuery(serializers.Serializer[Any]):
    """Which rollouts."""

    group = serializers.IntegerField(
        required=False, min_value=0, max_value=2**31 - 1, help_text="Only the rollouts of this prompt of a step."
    )
    gradient = serializers.ChoiceField(["trained", "masked"], required=False)
    ending = serializers.ChoiceField(
        ["whole", "cut"], required=False, help_text="Whether a rollout ended by itself or was cut."
    )
    stop = serializers.ChoiceField(list(STOPS), required=False, help_text="Stop reason.")
    flag = serializers.ChoiceField(
        list(FLAGS), required=False, help_text="Rollouts of which this is true, such as a malformed call."
    )
    label = serializers.ChoiceField(list(LABELS.items()), required=False, help_text="What somebody said of it.")  # type: ignore[assignment]
    low = serializers.FloatField(required=False, help_text="Lowest reward.")
    high = serializers.FloatField(required=False, help_text="Highest reward.")
    q = serializers.CharField(
        max_length=200,
        required=False,
        default="",
        allow_blank=True,
        help_text="Words to look for in prompt, answer, reference and reason of being masked, in any language.",
    )


class RangeQuery(WishQuery):
    """Which rollouts of a run."""

    first_step = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)
    last_step = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)


class RolloutListQuery(RangeQuery):
    sort = serializers.ChoiceField(
        [f"{sign}{name}" for name in SORTS for sign in ("", "-")],
        default="place",
        help_text="Order, lowest first; with a hyphen in front, highest first. `place` is by step, group and index.",
    )
    after = serializers.IntegerField(
        required=False, min_value=0, max_value=2**53, help_text="`next_after` of another page."
    )
    page_size = serializers.IntegerField(min_value=1, max_value=MOST_ROWS, default=50)


class RolloutExportQuery(RangeQuery):
    tokens = serializers.BooleanField(default=True, help_text="With every token and its log-prob.")


class RolloutsQuery(WishQuery):
    cursor = serializers.IntegerField(
        min_value=0, max_value=2**31 - 1, default=0, help_text="`next_cursor` of another page; 0 is the beginning."
    )
    page_size = serializers.IntegerField(min_value=1, max_value=MOST_ROWS, default=50)
    tokens = serializers.BooleanField(default=True, help_text="With every token and its log-prob.")


class RolloutRowAnswer(serializers.ModelSerializer[RolloutRow]):
    question = serializers.CharField(
        source="prompt.question", allow_blank=True, help_text="The beginning of the last thing said in the prompt."
    )

    class Meta:
        model = RolloutRow
        fields = (
            "id", "step", "attempt", "group", "index", "row", "question", "answer", "tokens", "turns", "calls",
            "rejected_calls", "failed_calls", "reward", "advantage", "stop_reason", "cut", "masked",
        )  # fmt: skip


class RolloutListAnswer(serializers.Serializer[Any]):
    results = RolloutRowAnswer(many=True)
    next_after = serializers.IntegerField(allow_null=True, help_text="Where to go on; null at the end.")
    steps_unread = serializers.IntegerField(help_text="Steps that are not in the list yet; ask again for them.")


class StoredRolloutAnswer(serializers.Serializer[Any]):
    group = serializers.IntegerField(help_text="Rollouts of one prompt share it.")
    index = serializers.IntegerField(help_text="Place within the group.")
    row = serializers.CharField(allow_blank=True, help_text="The prompt's row: dataset, version and number.")
    prompt = serializers.ListField(child=serializers.CharField(allow_blank=True), required=False)
    tokens = serializers.ListField(child=serializers.CharField(allow_blank=True), required=False)
    ids = serializers.ListField(
        child=serializers.IntegerField(),
        required=False,
        help_text="Of the tokens in the policy's vocabulary; none where some are masked.",
    )
    trained = serializers.ListField(
        child=serializers.BooleanField(), required=False, help_text="Whether a token gives a gradient."
    )
    logprobs = serializers.ListField(child=serializers.FloatField(allow_null=True), required=False)
    text = serializers.CharField(allow_blank=True)
    reference = serializers.CharField(allow_blank=True)
    rewards = serializers.DictField(child=serializers.FloatField(allow_null=True), help_text="Before their weights.")
    words = serializers.DictField(
        child=serializers.CharField(allow_blank=True), help_text="What components said, such as a judge's reply."
    )
    reward = serializers.FloatField(allow_null=True)
    advantage = serializers.FloatField(allow_null=True)
    stop_reason = serializers.CharField()
    masked = serializers.CharField(allow_blank=True, help_text="Why it gives no gradient; empty when it does.")
    turns = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField()),
        help_text="Where each turn of the policy begins and ends in `tokens`; empty without tools.",
    )
    detail = serializers.DictField()


class RolloutsAnswer(serializers.Serializer[Any]):
    step = serializers.IntegerField()
    attempt = serializers.IntegerField()
    results = StoredRolloutAnswer(many=True)
    next_cursor = serializers.IntegerField(allow_null=True, help_text="Where to go on; null at the end.")
    fault = serializers.CharField(allow_blank=True, help_text="What is wrong with the file; empty when nothing is.")


class RolloutCallAnswer(serializers.Serializer[Any]):
    call = serializers.CharField(help_text="As the sandbox logged it.")
    turn = serializers.IntegerField()
    tool = serializers.CharField()
    arguments = serializers.CharField(allow_blank=True, help_text="As the policy wrote them, parsable or not.")
    status = serializers.CharField()
    wall_ms = serializers.FloatField()
    tries = serializers.IntegerField(help_text="0 for a call that was never made.")
    output = serializers.CharField(allow_blank=True)
    at = serializers.FloatField(allow_null=True, help_text="When it ended, in seconds since 1970.")


class WholeRolloutAnswer(StoredRolloutAnswer):
    step = serializers.IntegerField()
    attempt = serializers.IntegerField()
    calls = RolloutCallAnswer(many=True)


def make_wish(query: dict[str, Any], *, first: int | None, last: int | None) -> RolloutWish:
    sort = query.get("sort", "place")
    return RolloutWish(
        words=query["q"].strip(),
        first=first,
        last=last,
        group=query.get("group"),
        gradient=query.get("gradient", ""),
        ending=query.get("ending", ""),
        stop=query.get("stop", ""),
        flags=(query["flag"],) if "flag" in query else (),
        label=query.get("label", ""),
        low=query.get("low"),
        high=query.get("high"),
        sort=sort.lstrip("-"),
        descending=sort.startswith("-"),
    )


class LinesRenderer(JSONRenderer):
    """Lets clients ask for lines; errors remain JSON."""

    media_type = "application/x-ndjson"
    format = "jsonl"


class RolloutSteps(ProjectView):
    scope = "runs"
    serializer_class = RolloutStepAnswer
    queryset = RolloutFile.objects.none()
    page_ordering = "-step"

    @extend_schema(responses=RolloutStepAnswer(many=True), operation_id="runs_rollout_steps", tags=["runs"])
    def get(self, request: Any, project: str, number: int) -> Response:
        """Steps that stored rollouts, the latest first; after a resume those that led to where the run is."""
        return self.answer_page(find_rollout_files(find_run(self, number)), RolloutStepAnswer)


class RolloutRows(ProjectView):
    scope = "runs"

    @extend_schema(
        parameters=[RolloutListQuery], responses=RolloutListAnswer, operation_id="runs_rollout_list", tags=["runs"]
    )
    def get(self, request: Any, project: str, number: int) -> Response:
        """Rollouts of all steps, in short: filtered, searched and ordered as the page of the run does it."""
        query = self.read_query(RolloutListQuery)
        run = find_run(self, number)
        unread = list_missing(find_rollout_files(run), seconds=PATIENCE)
        wish = make_wish(query, first=query.get("first_step"), last=query.get("last_step"))
        page = RolloutList(run, wish).page(after=query.get("after"), size=query["page_size"])
        mask = find_mask_of_run(run)
        for row in page.rows:
            row.answer, row.prompt.question = mask.apply(row.answer), mask.apply(row.prompt.question)
        rows = RolloutRowAnswer(page.rows, many=True).data
        return Response({"results": rows, "next_after": page.after, "steps_unread": unread})


class RolloutLines(ProjectView):
    scope = "runs"
    renderer_classes = (LinesRenderer, JSONRenderer)

    @extend_schema(
        parameters=[RolloutExportQuery],
        responses={(200, LinesRenderer.media_type): OpenApiTypes.STR},
        operation_id="runs_rollout_export",
        tags=["runs"],
    )
    def get(self, request: Any, project: str, number: int) -> StreamingHttpResponse:
        """The rollouts that the filters admit, step after step: one JSON object in a line, with its tool calls."""
        query = self.read_query(RolloutExportQuery)
        run = find_run(self, number)
        list_missing(find_rollout_files(run))
        wish = make_wish(query, first=query.get("first_step"), last=query.get("last_step"))
        lines = export_rollouts(run, wish, tokens=query["tokens"])
        return StreamingHttpResponse(lines, content_type=LinesRenderer.media_type)


class Rollouts(ProjectView):
    scope = "runs"

    @extend_schema(parameters=[RolloutsQuery], responses=RolloutsAnswer, operation_id="runs_rollouts", tags=["runs"])
    def get(self, request: Any, project: str, number: int, step: int) -> Response:
        """Rollouts of one step in the order of the file, those of a prompt together."""
        query = self.read_query(RolloutsQuery)
        run = find_run(self, number)
        files = find_rollout_files(run).filter(step=step)
        list_missing(files)
        file = files.first()
        if file is None:
            raise exceptions.NotFound(NOT_FOUND)
        rows = RolloutList(run, make_wish(query, first=step, last=step)).rows.order_by("offset")
        end = query["cursor"] + query["page_size"]
        offsets = list(rows.values_list("offset", flat=True)[query["cursor"] : end + 1])
        left_out, mask = set() if query["tokens"] else HEAVY, find_mask_of_run(run)
        # By way of JSON, which has null for what is no finite number.
        results = [
            json.loads(mask_rollout(one, mask).model_dump_json(exclude=left_out))
            for one in read_at(file, offsets[: query["page_size"]])
        ]
        answer = {
            "step": file.step,
            "attempt": file.attempt.number,
            "results": results,
            "next_cursor": end if len(offsets) > query["page_size"] else None,
            "fault": file.fault,
        }
        return Response(answer)


class OneRollout(ProjectView):
    scope = "runs"

    @extend_schema(responses=WholeRolloutAnswer, operation_id="runs_rollout", tags=["runs"])
    def get(self, request: Any, project: str, number: int, step: int, group: int, index: int) -> Response:
        """One rollout, personal data masked, with every token, its rewards and its tool calls."""
        run = find_run(self, number)
        file = find_rollout_files(run).filter(step=step).first()
        stored = read_group(file, group)[0] if file else []
        one = next((one for one in stored if one.index == index), None)
        if file is None or one is None:
            raise exceptions.NotFound(NOT_FOUND)
        calls, mask = [], find_mask_of_run(run)
        try:
            for told in read_step_calls(file, [f"{group}.{index}"]):
                call = mask_call(told, mask)
                calls.append(call.model_dump(mode="json", exclude={"step", "rollout"}))
        except CallsUnreadable:
            pass  # what could be read is told
        return Response(tell_rollout(file, mask_rollout(one, mask), calls, tokens=True))
