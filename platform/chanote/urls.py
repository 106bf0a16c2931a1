"""Every address of the platform."""

from importlib.util import find_spec

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("p/<slug:project>/boards/", include("chanote.boards.urls")),
]
for _app in ("web", "accounts", "audit", "datasets", "models", "recipes", "runs"):
    if find_spec(f"chanote.{_app}.urls"):
        urlpatterns.append(path("", include(f"chanote.{_app}.urls")))
if find_spec("chanote.api.urls"):
    urlpatterns.append(path("api/v1/", include("chanote.api.urls")))

handler500 = "chanote.web.errors.answer_failure"
