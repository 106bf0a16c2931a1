"""Every address of the platform."""

from importlib.util import find_spec

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from chanote.web.site import open_login

admin.site.site_header = "Chanote administration"
admin.site.site_title = "Chanote"
admin.site.site_url = "/"
admin.site.login = open_login  # type: ignore[method-assign]

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
