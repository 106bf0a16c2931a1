"""The answer to a login while its name is locked."""

import math
from datetime import datetime
from typing import Any

from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

TOO_MANY_REQUESTS = 429


def answer_lockout(request: HttpRequest, *_: Any) -> HttpResponse:
    """A page that says when the next try is possible; set as AXES_LOCKOUT_CALLABLE."""
    opens = find_opening(request)
    seconds = max(1, math.ceil((opens - timezone.now()).total_seconds()))
    context = {"opens": opens, "minutes": math.ceil(seconds / 60)}
    response = render(request, "accounts/locked.html", context, status=TOO_MANY_REQUESTS)
    response["Retry-After"] = str(seconds)
    return response


def find_opening(request: HttpRequest) -> datetime:
    """When the last counted failure of this name from this address is old enough."""
    attempts = AccessAttempt.objects.filter(
        username=request.POST.get("username", ""), ip_address=getattr(request, "axes_ip_address", None)
    )
    last = attempts.order_by("-attempt_time").values_list("attempt_time", flat=True).first()
    return (last or timezone.now()) + get_cool_off(request)
