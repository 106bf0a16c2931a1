"""The audit log of a project. Every filter stands in the address."""

import re
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from chanote.audit.exporting import FORMATS, export_events
from chanote.audit.selectors import find_events, list_choices, read_audit_wish
from chanote.web.projects import get_project
from chanote.web.streaming import StreamedText

PER_PAGE = 50
HASH = re.compile(r"[0-9a-f]{64}\Z")


@login_required
@require_GET
def audit(request: HttpRequest, project: str) -> HttpResponse:
    found = get_project(request, project)
    wish = read_audit_wish(request.GET)
    page = Paginator(find_events(request.user, found, wish), PER_PAGE).get_page(request.GET.get("page"))
    asked = {name: value for name, value in vars(wish).items() if value}
    lines = [(event, tell_detail(event.detail)) for event in page]
    context = {"project": found, "wish": wish, "page": page, "lines": lines, "asked": urlencode(asked)}
    return render(request, "audit/log.html", context | list_choices(found))


def tell_detail(detail: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values for a line of the page: empty values left out, hashes by their beginning. CSV has them whole."""
    return [(name.replace("_", " "), _tell(value)) for name, value in detail.items() if value not in ("", None, [], {})]


def _tell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value[:12] if isinstance(value, str) and HASH.match(value) else str(value)


@login_required
@require_GET
def audit_file(request: HttpRequest, project: str, format: str) -> StreamedText:
    """Every event that the filters leave, newest first."""
    found = get_project(request, project)
    lines = export_events(find_events(request.user, found, read_audit_wish(request.GET)), format)
    response = StreamedText(lines, content_type=FORMATS[format])
    response["Content-Disposition"] = f'attachment; filename="{found.slug}-audit.{format}"'
    return response
