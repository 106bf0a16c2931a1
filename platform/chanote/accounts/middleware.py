"""A person with a password somebody else chose sees only the form that changes it."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import reverse

OPEN_PREFIXES = ("/static/", "/livez", "/readyz", "/metrics")


class FirstPasswordMiddleware:
    async_capable = True
    sync_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if iscoroutinefunction(self.get_response):
            return self._answer_async(request)
        return self._refuse(request, request.user) or self.get_response(request)

    async def _answer_async(self, request: HttpRequest) -> HttpResponse:
        # Spares sync views the second look-up that the lazy `request.user` would make.
        request.user = await request.auser()
        return self._refuse(request, request.user) or await self.get_response(request)  # type: ignore[misc]

    def _refuse(self, request: HttpRequest, user: object) -> HttpResponse | None:
        if not getattr(user, "must_change_password", False) or request.path.startswith(OPEN_PREFIXES):
            return None
        form = reverse("password_change")
        if request.path in {form, reverse("logout")}:
            return None
        if request.headers.get("HX-Request"):
            return HttpResponse(status=204, headers={"HX-Redirect": form})
        if request.path.startswith("/api/") or "text/event-stream" in request.headers.get("Accept", ""):
            # Programs and streams would follow a redirect and take the form for an answer.
            return JsonResponse({"detail": f"Change your first password at {form}, then ask again."}, status=403)
        return redirect(form)
