"""Items of a board over REST: slices with their counts, and both answers to an item with what differs in them."""

from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from chanote.api.views import ProjectView
from chanote.boards.answer_diff import compare_answers
from chanote.boards.api import SampleAnswer
from chanote.boards.cleaning import Clean
from chanote.boards.masks import find_mask_of_task, leave_out_covered, mask_samples
from chanote.boards.models import Board, Evaluation, Sample
from chanote.boards.selectors import CELLS, find_samples, read_board
from chanote.boards.slices import EXPLORATORY, MARKS, find_slices
from chanote.boards.table import Table


class ItemsQuery(serializers.Serializer[Any]):
    task = serializers.CharField(max_length=100, help_text="`slug@number`")
    a = serializers.CharField(max_length=120, help_text="Slug of a model.")
    b = serializers.CharField(max_length=120, required=False, default="", help_text="Slug of another, to compare with.")
    slice = serializers.ChoiceField(
        choices=[*CELLS, *MARKS], required=False, default="", help_text="Only the items of this slice."
    )
    clean = serializers.ChoiceField(
        choices=[Clean.QUESTIONS.value, Clean.SOURCES.value], required=False, default="", help_text="As of the board."
    )
    q = serializers.CharField(max_length=200, required=False, default="", help_text="Words to look for.")


class SliceCount(serializers.Serializer[Any]):
    slice = serializers.CharField()
    words = serializers.CharField()
    items = serializers.IntegerField()


class DiffPassage(serializers.Serializer[Any]):
    text = serializers.CharField()
    change = serializers.CharField(help_text="del: only in A's answer; add: only in B's; empty: in both.")


class ItemAnswer(serializers.Serializer[Any]):
    item = serializers.CharField()
    a = SampleAnswer()
    b = SampleAnswer(allow_null=True)
    diff = DiffPassage(many=True, help_text="Word by word; empty without a second answer.")
    not_compared = serializers.IntegerField(help_text="Words beyond the longest that is compared.")

    def to_representation(self, instance: Any) -> dict[str, Any]:
        other = self.context["others"].get(instance.item)
        passages, left = ([], 0) if other is None else compare_answers(instance.output, other.output)
        return {
            "item": instance.item,
            "a": SampleAnswer(instance).data,
            "b": None if other is None else SampleAnswer(other).data,
            "diff": [{"text": one.text, "change": one.change} for one in passages],
            "not_compared": left,
        }


class SlicesAnswer(serializers.Serializer[Any]):
    note = serializers.CharField(help_text="That slices are exploratory.")
    right_or_wrong = serializers.BooleanField(help_text="False: scores are graded; only_a then means A is better.")
    slices = SliceCount(many=True)


def find_sides(view: ProjectView, slug: str) -> tuple[dict[str, Any], Table, Evaluation, Evaluation | None, Any]:
    """What the address names: query, table, both evaluations and the items that are left out."""
    query = view.read_query(ItemsQuery)
    board = get_object_or_404(Board.objects.select_related("baseline"), project=view.project, slug=slug)
    content = read_board(board, clean=Clean(query["clean"]))
    if query["task"] not in content.tables:
        raise Http404
    table = content.tables[query["task"]]
    by_model = {entry.name: entry.evaluation for entry in table.entries}
    if query["a"] not in by_model or (query["b"] and query["b"] not in by_model):
        raise Http404
    without = content.cleaning.left_out(table.task) if content.cleaning else frozenset()
    return query, table, by_model[query["a"]], by_model.get(query["b"]), without


class BoardSlices(ProjectView):
    scope = "boards"

    @extend_schema(parameters=[ItemsQuery], responses=SlicesAnswer, operation_id="boards_slices", tags=["boards"])
    def get(self, request: Any, project: str, slug: str) -> Response:
        """How many items of a task are in each slice, of one model or of two."""
        _, table, a, b, without = find_sides(self, slug)
        found = find_slices(a, b, higher_is_better=table.task.higher_is_better, without=without)
        counts = [{"slice": name, "words": words, "items": count} for name, words, count in found.count()]
        return Response({"note": EXPLORATORY, "right_or_wrong": found.binary, "slices": counts})


class BoardItems(ProjectView):
    scope = "boards"
    serializer_class = ItemAnswer
    queryset = Sample.objects.none()
    page_ordering = "id"

    @extend_schema(
        parameters=[ItemsQuery], responses=ItemAnswer(many=True), operation_id="boards_items", tags=["boards"]
    )
    def get(self, request: Any, project: str, slug: str) -> Response:
        """Items of a task as one model answered them, or two side by side, in the order of the task; personal data
        masked."""
        query, table, a, b, without = find_sides(self, slug)
        items = None
        if query["slice"]:
            slices = find_slices(a, b, higher_is_better=table.task.higher_is_better, without=without)
            if query["slice"] not in slices.items:
                raise serializers.ValidationError(
                    {"slice": ["It needs a second model in b; neither also scores that are right or wrong."]}
                )
            items = slices.items[query["slice"]]
        found = find_samples(a, items=items, without=without, words=query["q"])
        mask = find_mask_of_task(table.task)
        page = mask_samples(self.paginate_queryset(leave_out_covered(found, mask, query["q"])) or [], mask)
        wanted = [one.item for one in page]
        others = {one.item: one for one in mask_samples(b.samples.filter(item__in=wanted), mask)} if b else {}
        return self.get_paginated_response(ItemAnswer(page, many=True, context={"others": others}).data)
