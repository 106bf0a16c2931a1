"""Pages of the boards. Every filter stands in the address."""

import csv
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from chanote.accounts.roles import may, require
from chanote.boards.answer_diff import compare_answers
from chanote.boards.cleaning import describe_cleaning, word_cleaning
from chanote.boards.cleaning_pages import find_clean, lay_out_cleaning, list_choices
from chanote.boards.corpus_cells import lay_out_corpus
from chanote.boards.episodes import sum_episodes
from chanote.boards.forms import EditBoardForm, NewBoardForm
from chanote.boards.judging.describe import describe_calibration, describe_judges
from chanote.boards.judging.pages import lay_out_judged
from chanote.boards.masks import find_mask_of_task, leave_out_covered, mask_samples
from chanote.boards.models import Board, Evaluation, Sample, Task
from chanote.boards.pages import lay_out_board, lay_out_pair
from chanote.boards.selectors import (
    CELLS,
    BoardContent,
    boards_with_counts,
    calibrate_table,
    cross_items,
    describe_models,
    find_samples,
    read_board,
    tasks_with_counts,
)
from chanote.boards.services import BoardError, create_board, update_board
from chanote.boards.slices import EXPLORATORY, find_slices
from chanote.boards.snapshots import word_checked
from chanote.boards.statistics.wording import ONE_RUN_EACH
from chanote.boards.table import Table, unit_of
from chanote.checks.masking import Mask
from chanote.review.texts import Passage
from chanote.web.projects import get_project

SAMPLES_PER_PAGE = 25


@login_required
@require_GET
def board_list(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    boards = boards_with_counts(Board.objects.visible_to(request.user).filter(project=found))
    tasks = tasks_with_counts(Task.objects.visible_to(request.user).filter(project=found))
    return render(
        request,
        "boards/list.html",
        {
            "project": found,
            "boards": boards,
            "tasks": tasks,
            "may_change": may(request.user, "boards.change", found),
        },
    )


@login_required
@require_http_methods(["GET", "POST"])
def board_new(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    require(request.user, "boards.change", found)
    form = NewBoardForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            board = create_board(project=found, actor=request.user, **form.cleaned_data)
        except BoardError as error:
            form.add_error("slug", str(error))
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect("boards:board", found.slug, board.slug)
    return render(request, "boards/form.html", {"project": found, "form": form}, status=_status(form))


@login_required
@require_http_methods(["GET", "POST"])
def board_edit(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    board = _find_board(request, project, slug)
    require(request.user, "boards.change", board.project)
    initial = {"title": board.title, "question": board.question, "baseline": board.baseline}
    form = EditBoardForm(request.POST or None, initial=initial, board=board, project=board.project)
    if request.method == "POST" and form.is_valid():
        update_board(board, actor=request.user, **form.cleaned_data)
        return redirect("boards:board", board.project.slug, board.slug)
    context = {"project": board.project, "board": board, "form": form}
    return render(request, "boards/form.html", context, status=_status(form))


@login_required
@require_GET
def board_detail(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    board = _find_board(request, project, slug)
    content = read_board(board, baseline=request.GET.get("baseline", ""), clean=find_clean(request))
    context: dict[str, Any] = {
        "project": board.project,
        "board": board,
        "content": content,
        "choices": list_choices(content),
        "may_change": may(request.user, "boards.change", board.project),
        "note": ONE_RUN_EACH,
    }
    if content.tables:
        table = _find_table(content, request.GET.get("task", ""))
        page = lay_out_board(content, table.task.reference)
        context |= {"table": table, "task": table.task, "page": page, **_describe_task(table.task, table)}
        context["judged"] = lay_out_judged(table, calibrate_table(table))
        context["corpus"] = lay_out_corpus(table)
        if content.cleaning:
            context |= lay_out_cleaning(content.cleaning, table.task)
    return render(request, "boards/board.html", context)


@login_required
@require_GET
def board_csv(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    """The estimates of every task, unrounded."""
    board = _find_board(request, project, slug)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    clean = find_clean(request)
    named = f"{board.slug}-{clean}" if clean else board.slug
    response["Content-Disposition"] = f'attachment; filename="{named}.csv"'
    writer = csv.writer(response)
    columns = ["model", "estimate", "low", "high", "method", "items", "clusters", "failed_share", "rank", "letters"]
    taken = ["turns", "calls", "tool_errors", "malformed_calls", "prompt_tokens", "completion_tokens", "cost"]
    content = read_board(board, clean=clean)
    told = ["value", "low", "high", "method"]
    corrected = [f"corrected_{name}" for name in told]
    added = ["clean", "items_not_clean", "checked"] if clean else []
    writer.writerow(["task", *columns, "left_out", *taken, "judges", "calibration", *corrected, "not_compared", *added])
    for table in content.tables.build_all():
        left = describe_cleaning(content.cleaning, table.task) if content.cleaning else None
        cleaned = [left["clean"], left["left_out"], word_checked(left)] if left else []
        judged = calibrate_table(table)
        judging = describe_calibration(judged) or {}  # empty cells where no model judges
        for model in describe_models(table, judged):
            rank = "" if model["rank"] is None else "-".join(map(str, model["rank"]))
            numbers = [rank if name == "rank" else model[name] for name in columns]
            episodes = model["episodes"] or {}  # of an agent; empty cells for all others
            correction = model["corrected"] or {}
            writer.writerow(
                [
                    table.task.reference,
                    *numbers,
                    model["left_out"],
                    *[episodes.get(name, "") for name in taken],
                    " ".join(judging.get("judges", [])),
                    judging.get("state", ""),
                    *[correction.get(name, "") for name in told],
                    model["not_compared"],
                    *cleaned,
                ]
            )
    return response


@login_required
@require_GET
def pair(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    """Two models of one task: verdict, interval, and items by who answered them."""
    board = _find_board(request, project, slug)
    clean = find_clean(request)
    content = read_board(board, clean=clean)
    table = _find_table(content, request.GET.get("task", ""))
    without = content.cleaning.left_out(table.task) if content.cleaning else frozenset()
    a, b = (_find_evaluation(table, request.GET.get(name, "")) for name in ("a", "b"))
    comparison = table.find(a.model.slug, b.model.slug)
    context = {
        "project": board.project,
        "board": board,
        "table": table,
        "task": table.task,
        "a": a,
        "b": b,
        "comparison": comparison,
        "note": ONE_RUN_EACH,
        "clean": clean,
        "cleaning": content.cleaning,
        "cleaning_words": word_cleaning(content.cleaning, table.task) if content.cleaning else "",
    }
    if comparison is not None:
        cross = cross_items(a, b, higher_is_better=table.task.higher_is_better, without=without)
        context |= {
            "page": lay_out_pair(comparison, a.model.slug, b.model.slug, unit_of(table.task)),
            "cross": cross,
            "cells": {cell: cross.count(cell) for cell in CELLS},
        }
    else:
        context["reasons"] = [entry for entry in table.entries if entry.not_compared]
    return render(request, "boards/pair.html", context)


@login_required
@require_GET
def samples(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    """Items as one model answered them, or as two did side by side."""
    board = _find_board(request, project, slug)
    clean = find_clean(request)
    content = read_board(board, clean=clean)
    table = _find_table(content, request.GET.get("task", ""))
    without = content.cleaning.left_out(table.task) if content.cleaning else frozenset()
    a = _find_evaluation(table, request.GET.get("a", ""))
    b = _find_evaluation(table, request.GET["b"]) if request.GET.get("b") else None
    slices = find_slices(a, b, higher_is_better=table.task.higher_is_better, without=without)
    cell = request.GET.get("cell", "")
    items = slices.items.get(cell)
    failed, left_out = "failed" in request.GET, "left_out" in request.GET
    words = request.GET.get("q", "").strip()[:200]
    mask = find_mask_of_task(table.task)
    found = find_samples(a, items=items, without=without, failed=failed, left_out=left_out, words=words)
    page = Paginator(leave_out_covered(found, mask, words), SAMPLES_PER_PAGE).get_page(request.GET.get("page"))
    rows = _join_samples(page, b, mask)
    query = request.GET.copy()
    query.pop("page", None)
    context = {
        "project": board.project,
        "board": board,
        "task": table.task,
        "a": a,
        "b": b,
        "cell": cell if items is not None else "",
        "slices": slices.count(),
        "exploratory": EXPLORATORY,
        "failed": failed,
        "left_out": left_out,
        "words": words,
        "clean": clean,
        "cleaning_words": word_cleaning(content.cleaning, table.task) if content.cleaning else "",
        "page": page,
        "rows": [(sample, other, _compare(sample, other)) for sample, other in rows],
        "query": query.urlencode(),
        "percent": table.task.higher_is_better,
        "lang": table.task.definition["x_language"],
        "may_rescore": b is None and not a.imported_from_id and may(request.user, "boards.change", board.project),
    }
    return render(request, "boards/samples.html", context)


@login_required
@require_GET
def task_detail(request: HttpRequest, project: str, slug: str, number: int) -> HttpResponse:
    found = get_project(request, project)
    task = get_object_or_404(Task.objects.visible_to(request.user), project=found, slug=slug, number=number)
    boards = Board.objects.filter(evaluations__task=task).distinct()
    context = {"project": found, "task": task, "boards": boards, **_describe_task(task, None)}
    context |= describe_judges(task)
    return render(request, "boards/task.html", context)


def _find_board(request: HttpRequest, project: str, slug: str) -> Board:
    boards = Board.objects.select_related("project", "baseline").filter(project=get_project(request, project))
    return get_object_or_404(boards, slug=slug)


def _find_table(content: BoardContent, reference: str) -> Table:
    """The table of the task that the address names; the first one when it names none."""
    if not content.tables:
        raise Http404("nothing has been scored on this board")
    if not reference:
        return next(iter(content.tables.values()))
    if reference not in content.tables:
        raise Http404(f"the board has no task {reference}")
    return content.tables[reference]


def _find_evaluation(table: Table, model: str) -> Evaluation:
    for entry in table.entries:
        if entry.name == model:
            return entry.evaluation
    raise Http404(f"model {model} has no score on {table.task}")


def _describe_task(task: Task, table: Table | None) -> dict[str, Any]:
    """Facts of the deed that take more than one field of the definition to say."""
    settings = task.definition["generation_kwargs"]
    sampled = f"temperature {settings['temperature']:g}" if settings["temperature"] else "likeliest token"
    decoding = {
        "generate_until": f"{sampled}, up to {settings['max_gen_toks']:,} tokens",
        "agent": f"{sampled}, up to {settings['max_gen_toks']:,} tokens an episode",
        "judged": f"{sampled}, up to {settings['max_gen_toks']:,} tokens a turn",
        "imported": "by another harness",
    }.get(task.definition["output_type"], "log-likelihood, no sampling")
    facts: dict[str, Any] = {"unit": unit_of(task), "decoding": decoding}
    facts["chance"] = f"{task.definition['x_stats']['chance'] * 100:g}" if task.definition["x_stats"]["chance"] else ""
    facts["margin"] = f"{task.definition['x_stats']['equivalence_margin'] * unit_of(task).scale:g}"
    if table is not None:
        evaluations = [entry.evaluation for entry in table.entries]
        facts["items"] = max(evaluation.count for evaluation in evaluations)
        facts["failed"] = sum(evaluation.failed for evaluation in evaluations)
        facts["left_out"] = sum(evaluation.left_out for evaluation in evaluations)
        facts["agents"] = sum_episodes(evaluations)
        facts["answers"] = sum(evaluation.count for evaluation in evaluations)
        facts["clusters"] = max(entry.estimate.clusters for entry in table.entries)
        facts["interval_method"] = table.entries[0].estimate.method
        facts["comparison_method"] = next((one.method for one in table.comparisons.values()), "none")
        # The deed has room for the test alone; the whole method stands in the cell's title and on the pair's page.
        facts["comparison_test"] = facts["comparison_method"].partition(",")[0].partition(" of ")[0]
    return facts


def _join_samples(page: Page, b: Evaluation | None, mask: Mask) -> list[tuple[Any, Any]]:
    """Each sample of the page, masked, with the other model's answer to the same item."""
    shown = mask_samples(page.object_list, mask)
    if b is None:
        return [(sample, None) for sample in shown]
    found = mask_samples(b.samples.filter(item__in=[one.item for one in shown]), mask)
    others = {sample.item: sample for sample in found}
    return [(sample, others.get(sample.item)) for sample in shown]


def _compare(sample: Sample, other: Sample | None) -> tuple[list[Passage], int] | None:
    """None where there are no two texts to compare."""
    if other is None or not (sample.output or other.output):
        return None
    return compare_answers(sample.output, other.output)


def _status(form: Any) -> int:
    return 422 if form.is_bound else 200
