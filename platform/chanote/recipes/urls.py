"""Addresses of the recipes. A recipe's name never begins with a hyphen: `-/` is free."""

from django.urls import path

from chanote.recipes import views

urlpatterns = [
    path("p/<slug:project>/recipes/", views.recipe_list, name="recipes"),
    path("p/<slug:project>/recipes/-/library/", views.add_library, name="recipe_library"),
    path("p/<slug:project>/recipes/-/new/", views.new_recipe, name="recipe_new"),
    path("p/<slug:project>/recipes/<slug:slug>/", views.recipe_detail, name="recipe"),
    path("p/<slug:project>/recipes/<slug:slug>/edit/", views.edit_recipe, name="recipe_edit"),
    path("p/<slug:project>/recipes/<slug:slug>/diff/", views.recipe_diff, name="recipe_diff"),
    path("p/<slug:project>/recipes/<slug:slug>/launch/", views.launch, name="recipe_launch"),
    path("p/<slug:project>/recipes/<slug:slug>/<int:number>.yaml", views.download, name="recipe_yaml"),
]
