"""A person with a password somebody else chose sees only the form that changes it."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse


class FirstPasswordMiddleware:
    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if iscoroutinefunction(self):
            return self._answer_async(request)
        return self._redirect(request, request.user) or self.get_response(request)

    async def _answer_async(self, request: HttpRequest) -> HttpResponse:
        return self._redirect(request, await request.auser()) or await self.get_response(request)  # type: ignore[misc]

    def _redirect(self, request: HttpRequest, user: object) -> HttpResponse | None:
        if not getattr(user, "must_change_password", False):
            return None
        if request.path in {reverse("password_change"), reverse("logout")} or request.path.startswith("/static/"):
            return None
        return redirect("password_change")
