"""Addresses of custody: quarantine, bundles, keys."""

from django.urls import path

from chanote.custody import views

BASE = "p/<slug:project>/custody/"

urlpatterns = [
    path(BASE, views.quarantine, name="custody"),
    path(f"{BASE}packages/<int:number>/", views.package, name="package"),
    path(f"{BASE}bundles/", views.bundles, name="bundles"),
    path(f"{BASE}bundles/<int:number>.tar", views.download, name="bundle_download"),
    path(f"{BASE}export/", views.export, name="bundle_export"),
    path(f"{BASE}keys/", views.keys, name="custody_keys"),
    path(f"{BASE}keys/own.pem", views.own_key, name="custody_own_key"),
]
