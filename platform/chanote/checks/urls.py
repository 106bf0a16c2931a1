"""Addresses of the checks. A dataset's name never begins with a hyphen: `-/` is free."""

from django.urls import path

from chanote.checks import views

BASE = "p/<slug:project>/datasets/"
VERSION = f"{BASE}<slug:slug>/<int:number>/"

urlpatterns = [
    path(f"{BASE}-/checks/<slug:name>/", views.settings, name="check_settings"),
    path(f"{VERSION}checks/", views.start, name="checks_start"),
    path(f"{VERSION}checks/<slug:name>/", views.result, name="check_result"),
    path(f"{VERSION}rows/<int:row>/", views.unmask, name="row_unmask"),
]
