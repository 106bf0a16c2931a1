"""Addresses of the models. A model's name never begins with a hyphen: `-/` is free."""

from django.urls import path

from chanote.models import views

BASE = "p/<slug:project>/models/"

urlpatterns = [
    path(BASE, views.model_list, name="models"),
    path(f"{BASE}-/register/", views.model_register, name="model_register"),
    path(f"{BASE}-/checkpoint/<int:checkpoint>/", views.model_from_checkpoint, name="model_from_checkpoint"),
    path(f"{BASE}<slug:slug>/", views.model_detail, name="model"),
    path(f"{BASE}<slug:slug>/edit/", views.model_edit, name="model_edit"),
]
