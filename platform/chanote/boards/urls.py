"""Addresses of the boards, below `p/<project>/boards/`. A board's name never begins with a hyphen: `-/` is free."""

from django.urls import path

from chanote.boards import views, views_changes, views_imports, views_library, views_rescoring, views_snapshots
from chanote.boards.judging import views as judging

app_name = "boards"

urlpatterns = [
    path("", views.board_list, name="list"),
    path("-/new/", views.board_new, name="new"),
    path("-/tasks/<slug:slug>/<int:number>/", views.task_detail, name="task"),
    path("-/library/", views_library.library, name="library"),
    path("-/library/<slug:name>/", views_library.ready_task, name="ready_task"),
    path("-/import/", views_imports.import_new, name="import"),
    path("-/imported/", views_imports.imported_list, name="imported_list"),
    path("-/imported/<int:number>/", views_imports.imported, name="imported"),
    path("-/imported/<int:number>/original/", views_imports.original, name="original"),
    path("-/evaluations/<int:number>/rescoring/", views_rescoring.rescoring, name="rescoring"),
    path("-/aliases/", views_changes.aliases, name="aliases"),
    path("-/aliases/<slug:name>/", views_changes.alias, name="alias"),
    path("-/aliases/<slug:name>/suite/", views_changes.suite, name="suite"),
    path("<slug:slug>/", views.board_detail, name="board"),
    path("<slug:slug>/edit/", views.board_edit, name="edit"),
    path("<slug:slug>/pair/", views.pair, name="pair"),
    path("<slug:slug>/changes/", views_changes.changes, name="changes"),
    path("<slug:slug>/curve/", views_changes.curve, name="curve"),
    path("<slug:slug>/snapshots/", views_snapshots.snapshots, name="snapshots"),
    path("<slug:slug>/snapshots/<int:number>/", views_snapshots.snapshot, name="snapshot"),
    path("<slug:slug>/snapshots/<int:number>/links/", views_snapshots.share, name="share"),
    path("<slug:slug>/snapshots/<int:number>/links/<int:link>/revoke/", views_snapshots.unshare, name="unshare"),
    path("<slug:slug>/snapshots/<int:number>/table.<str:kind>", views_snapshots.export, name="snapshot_export"),
    path("<slug:slug>/judging/", judging.judging, name="judging"),
    path("<slug:slug>/judging/label/", judging.label, name="judging_label"),
    path("<slug:slug>/recipes/", judging.recipes, name="recipes"),
    path("<slug:slug>/samples/", views.samples, name="samples"),
    path("<slug:slug>/table.csv", views.board_csv, name="csv"),
]
