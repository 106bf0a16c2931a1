"""Pages of runs. Every filter, order and choice stands in the address."""

import csv
import json
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from chanote.accounts.roles import may
from chanote.runs.compare import MOST_RUNS, compare_runs
from chanote.runs.curves import arrange_charts, choose_main, draw_chart
from chanote.runs.energy import read_energy
from chanote.runs.facts import list_datasets, list_stages, list_teachers, list_verbs, name_base, name_method
from chanote.runs.ledger import list_ledgers
from chanote.runs.live import find_run
from chanote.runs.log_text import STREAMS, LogText, has_text, read_on, read_tail
from chanote.runs.metrics import encode_curve, read_curve
from chanote.runs.mixtures import draw_mixtures
from chanote.runs.models import Attempt, MetricSeries, Run, State
from chanote.runs.pages import (
    dump_yaml,
    find_cursor,
    list_checkpoints,
    list_evaluations,
    list_facts,
    list_log,
    list_marks,
    list_samples,
    list_stage_lines,
    read_events,
    read_figures,
)
from chanote.runs.queue import waiting_reason
from chanote.runs.queue_page import read_queue
from chanote.runs.table import (
    COLUMNS,
    PER_PAGE,
    Wish,
    export_rows,
    find_runs,
    make_rows,
    read_wish,
    with_relations,
)
from chanote.web.caching import answer_unchanged
from chanote.web.numbers import read_key, read_number
from chanote.web.projects import get_project

MOST_CHART_POINTS = 1500
MOST_KEYS = 40
HEADINGS = (
    ("name", "Run", False, ""),
    ("state", "State", False, ""),
    ("", "Method", False, ""),
    ("base", "Base and data", False, ""),
    (
        "loss",
        "Loss, reward",
        True,
        "Latest training loss; below it the latest loss on held-out rows, nats per token. Where completions are "
        "rewarded, their latest mean reward instead. Sorted by training loss",
    ),
    ("", "Score", False, "Latest score; the board shows its interval"),
    ("progress", "Progress", False, ""),
    ("started", "Time", True, "Time that its attempts were alive; below it when the first began, which orders"),
    ("owner", "Owner", False, ""),
)
"""Order in the address, heading, right-aligned, explanation."""


@login_required
@require_GET
def run_table(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    wish = read_wish(request.GET)
    every = Run.objects.visible_to(request.user).filter(project=found)
    page = Paginator(with_relations(find_runs(every, wish)), PER_PAGE).get_page(request.GET.get("page"))
    rows = make_rows(page.object_list)
    active = any(row.run.is_active for row in rows)
    context = {
        "project": found,
        "rows": rows,
        "page": page,
        "refresh": request.get_full_path() if active else "",
    }
    if getattr(request, "htmx", False):
        return render(request, "runs/_rows.html", context)
    query = request.GET.copy()
    query.pop("page", None)
    context |= {
        "wish": wish,
        "total": every.count() if wish.is_filtered else page.paginator.count,
        "states": State.choices,
        "heads": _list_heads(request, wish),
        "query": query.urlencode(),
        "page_query": f"{query.urlencode()}&" if query else "",
    }
    return render(request, "runs/list.html", context)


def _list_heads(request: HttpRequest, wish: Wish) -> list[dict[str, Any]]:
    heads = []
    for name, label, right, title in HEADINGS:
        head: dict[str, Any] = {"label": label, "right": right, "title": title}
        if name:
            query = request.GET.copy()
            query.pop("page", None)
            sorted_now = wish.sort == name
            query["sort"] = name if sorted_now and wish.descending else f"-{name}"
            head |= {"url": f"?{query.urlencode()}"}
            if sorted_now:
                head["sorted"] = "descending" if wish.descending else "ascending"
        heads.append(head)
    return heads


@login_required
@require_GET
def run_table_csv(request: HttpRequest, project: str) -> HttpResponse:
    """Every run that the filter names, unrounded."""
    found = get_project(request, project)
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{found.slug}-runs.csv"'
    writer = csv.writer(response)
    writer.writerow(COLUMNS)
    for row in export_rows(_all_rows(request, found)):
        writer.writerow(guard_cell(" ".join(value) if isinstance(value, list) else value) for value in row.values())
    return response


def guard_cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


@login_required
@require_GET
def run_table_json(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    response = JsonResponse(list(export_rows(_all_rows(request, found))), safe=False)
    response["Content-Disposition"] = f'attachment; filename="{found.slug}-runs.json"'
    return response


def _all_rows(request: HttpRequest, project: Any) -> Sequence[Any]:
    every = Run.objects.visible_to(request.user).filter(project=project)
    return make_rows(with_relations(find_runs(every, read_wish(request.GET))))


def read_head(request: HttpRequest, project: str, number: int, tab: str) -> tuple[Run, dict[str, Any]]:
    """What every tab of a run shows above itself."""
    found = get_project(request, project)
    run = find_run(request.user, project, number)
    attempts = list(run.attempts.all())
    series = list(run.series.all())
    allowed = may(request.user, "runs.launch", found)
    cursor = find_cursor(run)
    events = read_events(run)
    newest = attempts[-1] if attempts else None
    checkpoints = [one for one in run.checkpoints.all() if not one.removed]
    context = {
        "project": found,
        "run": run,
        "tab": tab,
        "tabs": [(name, label, reverse(url, args=[found.slug, run.number])) for name, label, url in TABS],
        "figures": read_figures(run, attempts, series),
        "energy": read_energy(attempts),
        "attempts": attempts,
        "newest": newest,
        "last_checkpoint": max((one.step for one in checkpoints), default=None),
        "verbs": list_verbs(run, allowed=allowed, has_checkpoint=bool(checkpoints)),
        "allowed": allowed,
        "reason": waiting_reason(run) if run.state == State.QUEUED else "",
        "method": name_method(run),
        "base": name_base(run),
        "datasets": list_datasets(run),
        "teachers": list_teachers(run),
        "toolset": run.snapshot.get("toolset"),
        # Stages with rewards measure rewards on held-out prompts, no loss.
        "measures_held_out": any(stage.get("held_out") and not stage.get("rewards") for stage in list_stages(run)),
        "reproduced": run.snapshot.get("reproduces"),
        "series": series,
        "events": events,
        "cursor": cursor,
        "description": run.snapshot.get("recipe", {}).get("description", ""),
    }
    return run, context


TABS = (
    ("overview", "Overview", "run"),
    ("charts", "Charts", "run_charts"),
    ("rollouts", "Rollouts", "run_rollouts"),
    ("calls", "Tool calls", "run_calls"),
    ("logs", "Logs", "run_logs"),
    ("config", "Config", "run_config"),
    ("checkpoints", "Checkpoints", "run_checkpoints"),
    ("samples", "Samples", "run_samples"),
)


@login_required
@require_GET
def overview(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run, context = read_head(request, project, number, "overview")
    charts = [chart for section in arrange_charts(context["series"]) for chart in section.charts]
    main = choose_main(charts)
    marks = list_marks(run, context["events"])
    stages = list_stage_lines(run, context["events"])
    context |= {
        "stages": stages,
        "pictures": draw_mixtures(run, stages, context["series"]),
        "log": list_log(run, context["events"]),
        "evaluations": list_evaluations(run),
        "failure": next((one for one in reversed(context["events"]) if one.type == "attempt_failed"), None),
        "chart": main,
        "drawing": draw_chart(main, last_step=run.total_steps, marks=marks) if main else None,
        "marks_json": _dump_marks(marks),
    }
    return render(request, "runs/overview.html", context)


@login_required
@require_GET
def charts(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run, context = read_head(request, project, number, "charts")
    marks = list_marks(run, context["events"])
    sections = arrange_charts(context["series"])
    drawn = [
        (section, [(chart, draw_chart(chart, last_step=run.total_steps, marks=marks)) for chart in section.charts])
        for section in sections
    ]
    context |= {
        "sections": drawn,
        "marks_json": _dump_marks(marks),
        "ledgers": list_ledgers(run, context["events"], context["series"]),
    }
    return render(request, "runs/charts.html", context)


def _dump_marks(marks: Sequence[Any]) -> str:
    return json.dumps([vars(mark) for mark in marks], ensure_ascii=False)


@login_required
@require_GET
def curves(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """Curves of one run by key, each reduced to at most `points` places; `since` leaves out what came before a step."""
    run = find_run(request.user, project, number)
    keys = [key for key in request.GET.get("keys", "").split(",") if key][:MOST_KEYS]
    points = _read_number(request, "points", 1000, 10, MOST_CHART_POINTS)
    since = request.GET.get("since", "")
    start = int(since) if since.lstrip("-").isdecimal() and len(since) < 19 else None
    series = MetricSeries.objects.filter(run=run)
    if keys:
        series = series.filter(key__in=keys)
    found = {one.key: encode_curve(read_curve(one, start=start, points=points)) for one in series[:MOST_KEYS]}
    return answer_unchanged(request, JsonResponse({"total": run.total_steps, "curves": found}))


def _read_number(request: HttpRequest, name: str, default: int, lowest: int, highest: int) -> int:
    number = read_number(request.GET.get(name, ""))
    return default if number is None else min(max(number, lowest), highest)


@login_required
@require_GET
def logs(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run, context = read_head(request, project, number, "logs")
    attempt, name = _choose_log(request, context["attempts"])
    text = read_tail(attempt, name) if attempt else LogText([], cut=False, offset=0, size=0, exists=False)
    words = request.GET.get("q", "").strip()[:200]
    lines = list(enumerate(text.lines, start=1))
    if words:
        lines = [(place, line) for place, line in lines if words.lower() in line.lower()]
    context |= {"attempt": attempt, "stream": name, "streams": STREAMS, "text": text, "lines": lines, "words": words}
    return render(request, "runs/logs.html", context)


@login_required
@require_GET
def log_text(request: HttpRequest, project: str, number: int) -> HttpResponse:
    """Lines after a byte offset, for a page that follows; the whole tail as a file without one."""
    run = find_run(request.user, project, number)
    attempt, name = _choose_log(request, list(run.attempts.all()))
    if attempt is None:
        raise Http404("The run has no attempt.")
    offset = read_key(request.GET.get("offset", ""))
    if offset is not None:
        text = read_on(attempt, name, offset)
        return JsonResponse({"lines": text.lines, "offset": text.offset, "active": run.is_active})
    response = HttpResponse("\n".join(read_tail(attempt, name).lines), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{run.number}-{attempt.number}-{name}.log"'
    return response


def _choose_log(request: HttpRequest, attempts: list[Attempt]) -> tuple[Attempt | None, str]:
    wanted = request.GET.get("attempt", "")
    attempt = attempts[-1] if attempts else None
    if wanted:
        attempt = next((one for one in attempts if str(one.number) == wanted), None)
        if attempt is None:
            raise Http404(f"The run has no attempt {wanted}.")
    # Complaints first, where there are any.
    name = request.GET.get("stream") or next(
        (name for name in STREAMS if attempt and has_text(attempt, name)), "stdout"
    )
    if name not in STREAMS:
        raise Http404(f"There is no log {name}; choose one of {', '.join(STREAMS)}.")
    return attempt, name


@login_required
@require_GET
def config(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run, context = read_head(request, project, number, "config")
    environments = [(attempt, list_facts(attempt)) for attempt in reversed(context["attempts"])]
    context |= {"yaml_lines": dump_yaml(run.snapshot).splitlines(), "environments": environments}
    return render(request, "runs/config.html", context)


@login_required
@require_GET
def config_yaml(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run = find_run(request.user, project, number)
    response = HttpResponse(dump_yaml(run.snapshot), content_type="application/yaml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{project}-run-{run.number}.yaml"'
    return response


@login_required
@require_GET
def checkpoints(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run, context = read_head(request, project, number, "checkpoints")
    context |= {"lines": list_checkpoints(run, allowed=context["allowed"])}
    return render(request, "runs/checkpoints.html", context)


@login_required
@require_GET
def samples(request: HttpRequest, project: str, number: int) -> HttpResponse:
    run, context = read_head(request, project, number, "samples")
    context |= {"rows": list_samples(run)}
    return render(request, "runs/samples.html", context)


@login_required
@require_GET
def compare(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    asked = [read_number(text) for text in request.GET.getlist("run")]
    numbers = [number for number in dict.fromkeys(asked) if number is not None]
    runs = {
        run.number: run
        for run in with_relations(Run.objects.visible_to(request.user)).filter(project=found, number__in=numbers[:50])
    }
    missing = [number for number in numbers if number not in runs]
    chosen = [runs[number] for number in numbers if number in runs]
    problem, all_keys = "", request.GET.get("all") == "1"
    if missing:
        problem = f"There is no run {', '.join(f'#{number}' for number in missing)} in this project."
    if len(chosen) > MOST_RUNS:
        problem = f"Up to {MOST_RUNS} runs can be compared; the first {MOST_RUNS} are shown."
    context = {
        "project": found,
        "problem": problem,
        "chosen": len(chosen),
        "others": Run.objects.visible_to(request.user).filter(project=found).exclude(number__in=numbers)[:100],
        "all_keys": all_keys,
        "page_url": request.get_full_path(),
    }
    if len(chosen) >= 2:
        context["page"] = compare_runs(chosen[:MOST_RUNS], all_keys=all_keys)
    else:
        context["page"] = None
        context["only"] = chosen[0] if chosen else None
    return render(request, "runs/compare.html", context)


@login_required
@require_GET
def queue(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    context = {
        "project": found,
        "queue": read_queue(found),
        "slots": settings.DEVICE_SLOTS,
        "may_order": may(request.user, "runs.order_queue", found),
    }
    template = "runs/_queue.html" if getattr(request, "htmx", False) else "runs/queue.html"
    return render(request, template, context)
