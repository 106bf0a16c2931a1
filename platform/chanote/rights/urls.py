"""Addresses of the rights, below `p/<project>/`."""

from django.urls import path

from chanote.rights import exception_views, views

BASE = "p/<slug:project>/rights/"

urlpatterns = [
    path(BASE, views.source_list, name="sources"),
    path(f"{BASE}purpose/", views.purpose, name="purpose"),
    path(f"{BASE}sources/-/new/", views.source_new, name="source_new"),
    path(f"{BASE}sources/<slug:slug>/", views.source_detail, name="source"),
    path(f"{BASE}sources/<slug:slug>/edit/", views.source_edit, name="source_edit"),
    path(f"{BASE}sources/<slug:slug>/withdraw/", views.source_withdraw, name="source_withdraw"),
    path(f"{BASE}sources/<slug:slug>/retrain/", views.source_retrain, name="source_retrain"),
    path(f"{BASE}rows/<slug:dataset>/<int:number>/<int:row>/", views.row_impact, name="row_impact"),
    path(f"{BASE}exceptions/", exception_views.exception_list, name="exceptions"),
    path(f"{BASE}exceptions/-/new/", exception_views.exception_new, name="exception_new"),
    path(f"{BASE}exceptions/<int:number>/", exception_views.exception_detail, name="exception"),
]
