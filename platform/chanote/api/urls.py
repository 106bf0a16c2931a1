"""Addresses of the API, below `/api/v1/`."""

from django.urls import path, re_path, register_converter

from chanote.api import docs, views
from chanote.boards import api as boards
from chanote.boards import api_changes as changes
from chanote.boards import api_snapshots as snapshots
from chanote.datasets import api as datasets
from chanote.models import api as models
from chanote.recipes import api as recipes
from chanote.review import api as review
from chanote.runs import api as runs
from chanote.runs import api_records as records
from chanote.runs import api_rollouts as rollouts
from chanote.tools import api as tools


class NumberConverter:
    """A number that every database can hold; a longer one is no address."""

    regex = "[0-9]{1,9}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(NumberConverter, "number")

app_name = "api"
P = "projects/<slug:project>/"

urlpatterns = [
    path("schema/", docs.Schema.as_view(), name="schema"),
    path("docs/", docs.Docs.as_view(), name="docs"),
    path("me/", views.Me.as_view(), name="me"),
    path("projects/", views.Projects.as_view(), name="projects"),
    path(P, views.OneProject.as_view(), name="project"),
    path(f"{P}datasets/", datasets.Datasets.as_view(), name="datasets"),
    path(f"{P}datasets/<slug:slug>/", datasets.OneDataset.as_view(), name="dataset"),
    path(f"{P}datasets/<slug:slug>/versions/", datasets.Versions.as_view(), name="dataset_versions"),
    path(f"{P}datasets/<slug:slug>/versions/<number:number>/", datasets.OneVersion.as_view(), name="dataset_version"),
    path(f"{P}datasets/<slug:slug>/versions/<number:number>/rows/", datasets.Rows.as_view(), name="dataset_rows"),
    path(f"{P}models/", models.Models.as_view(), name="models"),
    path(f"{P}models/<slug:slug>/", models.OneModel.as_view(), name="model"),
    path(f"{P}check-recipe/", recipes.Check.as_view(), name="check_recipe"),
    path(f"{P}recipes/", recipes.Recipes.as_view(), name="recipes"),
    path(f"{P}recipes/<slug:slug>/", recipes.OneRecipe.as_view(), name="recipe"),
    path(f"{P}recipes/<slug:slug>/revisions/", recipes.Revisions.as_view(), name="revisions"),
    path(f"{P}recipes/<slug:slug>/revisions/<number:number>/", recipes.OneRevision.as_view(), name="revision"),
    path(f"{P}runs/", runs.Runs.as_view(), name="runs"),
    path(f"{P}runs/<number:number>/", runs.OneRun.as_view(), name="run"),
    path(f"{P}runs/<number:number>/stop/", runs.Stop.as_view(), name="run_stop"),
    path(f"{P}runs/<number:number>/cancel/", runs.Cancel.as_view(), name="run_cancel"),
    path(f"{P}runs/<number:number>/resume/", runs.Resume.as_view(), name="run_resume"),
    path(f"{P}runs/<number:number>/retry/", runs.Retry.as_view(), name="run_retry"),
    path(f"{P}runs/<number:number>/move/", runs.Move.as_view(), name="run_move"),
    path(f"{P}runs/<number:number>/checkpoints/", runs.Checkpoints.as_view(), name="run_checkpoints"),
    path(f"{P}runs/<number:number>/events/", records.Events.as_view(), name="run_events"),
    path(f"{P}runs/<number:number>/logs/", records.Logs.as_view(), name="run_logs"),
    path(f"{P}runs/<number:number>/metrics/", records.metrics, name="run_metrics"),
    path(f"{P}runs/<number:number>/curves/", records.Curves.as_view(), name="run_curves"),
    path(f"{P}runs/<number:number>/rollouts/", rollouts.RolloutSteps.as_view(), name="run_rollouts"),
    path(f"{P}runs/<number:number>/rollouts/<number:step>/", rollouts.Rollouts.as_view(), name="run_rollouts_of_step"),
    path(
        f"{P}runs/<number:number>/rollouts/<number:step>/<number:group>/<number:index>/",
        rollouts.OneRollout.as_view(),
        name="run_rollout",
    ),
    path(f"{P}runs/<number:number>/rollout-list/", rollouts.RolloutRows.as_view(), name="run_rollout_list"),
    path(f"{P}runs/<number:number>/rollout-lines/", rollouts.RolloutLines.as_view(), name="run_rollout_lines"),
    path(f"{P}runs/<number:number>/tool-calls/", tools.ToolCalls.as_view(), name="run_tool_calls"),
    path(f"{P}runs/<number:number>/labels/", review.RunLabels.as_view(), name="run_labels"),
    path(f"{P}review/inbox/", review.Inbox.as_view(), name="review_inbox"),
    path(f"{P}review/labels/", review.Labels.as_view(), name="review_labels"),
    path(f"{P}review/labels/<number:number>/", review.OneLabel.as_view(), name="review_one_label"),
    path(f"{P}review/exports/", review.Exports.as_view(), name="review_exports"),
    path(f"{P}tools/", tools.Tools.as_view(), name="tools"),
    path(f"{P}toolsets/", tools.Toolsets.as_view(), name="toolsets"),
    path(f"{P}toolsets/<slug:slug>/", tools.OneToolset.as_view(), name="toolset"),
    path(f"{P}toolsets/<slug:slug>/revisions/", tools.ToolsetRevisions.as_view(), name="toolset_revisions"),
    path(
        f"{P}toolsets/<slug:slug>/revisions/<number:number>/",
        tools.OneToolsetRevision.as_view(),
        name="toolset_revision",
    ),
    path(f"{P}queue/", records.Queue.as_view(), name="queue"),
    path(f"{P}tasks/", boards.Tasks.as_view(), name="tasks"),
    path(f"{P}tasks/<slug:slug>/<number:number>/", boards.OneTask.as_view(), name="task"),
    path(f"{P}boards/", boards.Boards.as_view(), name="boards"),
    path(f"{P}boards/<slug:slug>/", boards.OneBoard.as_view(), name="board"),
    path(f"{P}boards/<slug:slug>/changes/", changes.Changes.as_view(), name="board_changes"),
    path(f"{P}boards/<slug:slug>/curve/", changes.OneCurve.as_view(), name="board_curve"),
    path(f"{P}boards/<slug:slug>/snapshots/", snapshots.Snapshots.as_view(), name="board_snapshots"),
    path(f"{P}boards/<slug:slug>/snapshots/<number:number>/", snapshots.OneSnapshot.as_view(), name="board_snapshot"),
    path(f"{P}aliases/", changes.Aliases.as_view(), name="aliases"),
    path(f"{P}aliases/<slug:slug>/", changes.OneAlias.as_view(), name="alias"),
    path(f"{P}evaluations/", boards.Evaluations.as_view(), name="evaluations"),
    path(f"{P}evaluations/<number:number>/", boards.OneEvaluation.as_view(), name="evaluation"),
    path(f"{P}evaluations/<number:number>/samples/", boards.Samples.as_view(), name="samples"),
    # Whatever else is asked for is answered in the API's own form.
    re_path("", views.answer_unknown),
]
