"""A frozen board for whoever has its address: no login, no cookie, nothing of the project but what is frozen.

Pages are rendered without the request, so that neither user nor session is touched.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from chanote.api.throttles import METER
from chanote.boards.masks import find_mask_of_task, mask_samples
from chanote.boards.models import Evaluation, Sample, SharedLink
from chanote.boards.sharing import find_link, find_unpublishable, list_evaluations
from chanote.boards.snapshots import EXPORTS, lay_out_tables, word_citation
from chanote.checks.personal.patterns import KINDS

ITEMS_PER_PAGE = 25
HEADERS = {
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def through_link(
    view: Callable[..., HttpResponse | None],
) -> Callable[..., HttpResponse]:
    """Count the request, find the link, and answer 404 in the same words whatever it is that is not there."""

    @require_safe
    @wraps(view)
    def wrapped(request: HttpRequest, token: str, **named: Any) -> HttpResponse:
        wait = METER.admit(f"link-{request.META.get('REMOTE_ADDR', '')}", "shared")
        answer: HttpResponse | None
        if wait:
            answer = _say(429, "Too many requests", f"Come back in {wait} seconds.")
            answer["Retry-After"] = str(wait)
        else:
            link = find_link(token)
            answer = None if link is None else view(request, link, token, **named)
            if answer is None:
                answer = _say(404, "Not found", "There is no board at this address, or no longer.")
        for name, value in HEADERS.items():
            answer[name] = value
        return answer

    return wrapped


@through_link
def shared(request: HttpRequest, link: SharedLink, token: str) -> HttpResponse:
    """The frozen board, fit to be printed."""
    snapshot = link.snapshot
    context = {
        "snapshot": snapshot,
        "token": token,
        "tables": lay_out_tables(snapshot),
        "citation": word_citation(snapshot),
        "kinds": list(EXPORTS),
        "with_items": shows_items(link),
    }
    return HttpResponse(render_to_string("boards/shared.html", context))


@through_link
def export(request: HttpRequest, link: SharedLink, token: str, kind: str) -> HttpResponse | None:
    """CSV, JSON (the very bytes of the hash) or LaTeX."""
    if kind not in EXPORTS:
        return None
    content_type, write = EXPORTS[kind]
    answer = HttpResponse(write(link.snapshot), content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="board-{link.snapshot.number}.{kind}"'
    return answer


@through_link
def items(request: HttpRequest, link: SharedLink, token: str, evaluation: int) -> HttpResponse | None:
    """Questions and answers behind one score of the snapshot, with personal data masked."""
    shown = list_evaluations(link.snapshot)
    if evaluation not in shown or not shows_items(link):
        return None
    samples = Sample.objects.filter(evaluation=evaluation, evaluation__project=link.project).order_by("id")
    page = Paginator(samples, ITEMS_PER_PAGE).get_page(request.GET.get("page"))
    scored = Evaluation.objects.select_related("task__dataset_version__dataset").get(pk=evaluation)
    # Whoever has the address reads it: names too, which inside the house are masked only where a check found some.
    rows = mask_samples(page.object_list, replace(find_mask_of_task(scored.task), kinds=tuple(KINDS)))
    task, model = shown[evaluation]
    context = {"link": link, "token": token, "task": task, "model": model, "page": page, "rows": rows}
    return HttpResponse(render_to_string("boards/shared_items.html", context))


def shows_items(link: SharedLink) -> bool:
    """Rights may have been withdrawn since the link was granted."""
    return link.with_items and not find_unpublishable(link.snapshot)


def _say(status: int, title: str, words: str) -> HttpResponse:
    return HttpResponse(render_to_string("boards/shared_said.html", {"title": title, "words": words}), status=status)
