"""Pages for what went wrong."""

import structlog
from django.http import HttpRequest, HttpResponse
from django.template import loader


def answer_failure(request: HttpRequest) -> HttpResponse:
    """Status 500, without touching the database, with the number under which the log tells what happened."""
    number = structlog.contextvars.get_contextvars().get("request_id", "")
    page = loader.get_template("500.html").render({"number": str(number)[:8]})
    return HttpResponse(page, status=500)
