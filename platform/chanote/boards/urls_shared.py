"""Addresses that need no login, below `shared/boards/`."""

from django.urls import path

from chanote.boards import views_shared

app_name = "shared_boards"

urlpatterns = [
    path("<str:token>/", views_shared.shared, name="board"),
    path("<str:token>/items/<int:evaluation>/", views_shared.items, name="items"),
    path("<str:token>/table.<str:kind>", views_shared.export, name="export"),
]
