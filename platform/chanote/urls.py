"""Every address of the platform."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from chanote.web.site import open_login

admin.site.site_header = "Chanote administration"
admin.site.site_title = "Chanote"
admin.site.site_url = "/"
admin.site.login = open_login  # type: ignore[method-assign]

APPS = (
    "web",
    "accounts",
    "audit",
    "datasets",
    "models",
    "recipes",
    "runs",
    "tools",
    "chat",
    "review",
    "errands",
    "rights",
    "checks",
    "curation",
    "building",
    "custody",
)

urlpatterns: list[URLPattern | URLResolver] = [
    # The platform's own form knows of first passwords and writes the audit log.
    path("admin/password_change/", RedirectView.as_view(pattern_name="password_change")),
    path("admin/", admin.site.urls),
    path("p/<slug:project>/boards/", include("chanote.boards.urls")),
    path("shared/boards/", include("chanote.boards.urls_shared")),
    path("api/v1/", include("chanote.api.urls")),
    *[path("", include(f"chanote.{app}.urls")) for app in APPS],
]

handler500 = "chanote.web.errors.answer_failure"
