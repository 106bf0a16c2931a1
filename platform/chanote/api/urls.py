"""Addresses of the API, below `/api/v1/`."""

from typing import Any

from django.urls import path, re_path, register_converter

from chanote.api import docs, views
from chanote.audit import api as audit
from chanote.boards import api as boards
from chanote.boards import api_changes as changes
from chanote.boards import api_imports as imports
from chanote.boards import api_items as items
from chanote.boards import api_rescoring as rescoring
from chanote.boards import api_snapshots as snapshots
from chanote.boards.judging import api as judging
from chanote.building import api as building
from chanote.checks import api as checks
from chanote.curation import api as curation
from chanote.custody import api as custody
from chanote.datasets import api as datasets
from chanote.errands import api as errands
from chanote.models import api as models
from chanote.recipes import api as recipes
from chanote.review import api as review
from chanote.rights.addresses import list_addresses as list_rights
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
V = f"{P}datasets/<slug:slug>/versions/<number:number>/"

urlpatterns: list[Any] = [
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
    path(f"{V}standing/", curation.OneStanding.as_view(), name="dataset_standing"),
    path(f"{V}comments/", curation.Comments.as_view(), name="dataset_comments"),
    path(f"{V}changes/", curation.Changes.as_view(), name="dataset_changes"),
    path(f"{V}changes/apply/", curation.Apply.as_view(), name="dataset_apply_changes"),
    path(f"{V}changes/<number:change>/", curation.OneChange.as_view(), name="dataset_change"),
    path(f"{P}datasets/<slug:slug>/versions/<number:number>/checks/", checks.Checks.as_view(), name="checks"),
    path(
        f"{P}datasets/<slug:slug>/versions/<number:number>/checks/<slug:name>/", checks.OneCheck.as_view(), name="check"
    ),
    path(
        f"{P}datasets/<slug:slug>/versions/<number:number>/checks/<slug:name>/rows/",
        checks.CheckRows.as_view(),
        name="check_rows",
    ),
    path(
        f"{P}datasets/<slug:slug>/versions/<number:number>/rows/<number:row>/unmask/",
        checks.UnmaskedRow.as_view(),
        name="row_unmask",
    ),
    path(f"{P}models/", models.Models.as_view(), name="models"),
    path(f"{P}models/<slug:slug>/", models.OneModel.as_view(), name="model"),
    path(f"{P}check-recipe/", recipes.Check.as_view(), name="check_recipe"),
    path(f"{P}plan-mixtures/", recipes.PlanMixtures.as_view(), name="plan_mixtures"),
    path(f"{P}recipes/", recipes.Recipes.as_view(), name="recipes"),
    path(f"{P}recipes/<slug:slug>/", recipes.OneRecipe.as_view(), name="recipe"),
    path(f"{P}recipes/<slug:slug>/revisions/", recipes.Revisions.as_view(), name="revisions"),
    path(f"{P}recipes/<slug:slug>/revisions/<number:number>/", recipes.OneRevision.as_view(), name="revision"),
    path(
        f"{P}recipes/<slug:slug>/revisions/<number:number>/mixtures/",
        recipes.RevisionMixtures.as_view(),
        name="revision_mixtures",
    ),
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
    path(f"{P}build-kinds/", building.BuildKinds.as_view(), name="build_kinds"),
    path(f"{P}builds/", building.Builds.as_view(), name="builds"),
    path(f"{P}builds/<number:number>/", building.OneBuild.as_view(), name="build"),
    path(f"{P}builds/<number:number>/dropped/<slug:step>/", building.DroppedItems.as_view(), name="build_dropped"),
    path(f"{P}endpoints/", building.Endpoints.as_view(), name="endpoints"),
    path(f"{P}endpoints/<slug:slug>/", building.OneEndpoint.as_view(), name="endpoint"),
    path(f"{P}errands/", errands.Errands.as_view(), name="errands"),
    path(f"{P}errands/<number:number>/", errands.OneErrand.as_view(), name="errand"),
    path(f"{P}errands/<number:number>/stop/", errands.StopErrand.as_view(), name="errand_stop"),
    path(f"{P}errands/<number:number>/resume/", errands.ResumeErrand.as_view(), name="errand_resume"),
    path(f"{P}tools/", tools.Tools.as_view(), name="tools"),
    path(f"{P}toolsets/", tools.Toolsets.as_view(), name="toolsets"),
    path(f"{P}toolsets/<slug:slug>/", tools.OneToolset.as_view(), name="toolset"),
    path(f"{P}toolsets/<slug:slug>/revisions/", tools.ToolsetRevisions.as_view(), name="toolset_revisions"),
    path(
        f"{P}toolsets/<slug:slug>/revisions/<number:number>/",
        tools.OneToolsetRevision.as_view(),
        name="toolset_revision",
    ),
    path(f"{P}bundles/", custody.Bundles.as_view(), name="bundles"),
    path(f"{P}bundles/<number:number>/file/", custody.BundleFile.as_view(), name="bundle_file"),
    path(f"{P}packages/", custody.Packages.as_view(), name="packages"),
    path(f"{P}packages/<number:number>/", custody.OnePackage.as_view(), name="package"),
    path(f"{P}packages/<number:number>/accept/", custody.AcceptPackage.as_view(), name="package_accept"),
    path(f"{P}packages/<number:number>/reject/", custody.RejectPackage.as_view(), name="package_reject"),
    path(f"{P}keys/", custody.Keys.as_view(), name="keys"),
    path(f"{P}keys/<number:number>/", custody.OneKey.as_view(), name="key"),
    path(f"{P}audit/", audit.AuditEvents.as_view(), name="audit"),
    path(f"{P}audit/file/", audit.AuditFile.as_view(), name="audit_file"),
    path(f"{P}queue/", records.Queue.as_view(), name="queue"),
    path(f"{P}tasks/", boards.Tasks.as_view(), name="tasks"),
    path(f"{P}tasks/<slug:slug>/<number:number>/", boards.OneTask.as_view(), name="task"),
    path(
        f"{P}tasks/<slug:slug>/<number:number>/clean-items/", checks.CleanTaskItems.as_view(), name="task_clean_items"
    ),
    path(f"{P}boards/", boards.Boards.as_view(), name="boards"),
    path(f"{P}boards/<slug:slug>/", boards.OneBoard.as_view(), name="board"),
    path(f"{P}boards/<slug:slug>/changes/", changes.Changes.as_view(), name="board_changes"),
    path(f"{P}boards/<slug:slug>/slices/", items.BoardSlices.as_view(), name="board_slices"),
    path(f"{P}boards/<slug:slug>/items/", items.BoardItems.as_view(), name="board_items"),
    path(f"{P}boards/<slug:slug>/curve/", changes.OneCurve.as_view(), name="board_curve"),
    path(f"{P}boards/<slug:slug>/judging/", judging.BoardJudging.as_view(), name="board_judging"),
    path(f"{P}boards/<slug:slug>/labels/", judging.BoardLabels.as_view(), name="board_labels"),
    path(f"{P}boards/<slug:slug>/votes/", judging.BoardVotes.as_view(), name="board_votes"),
    path(f"{P}boards/<slug:slug>/recipes/", judging.BoardRecipes.as_view(), name="board_recipes"),
    path(f"{P}boards/<slug:slug>/snapshots/", snapshots.Snapshots.as_view(), name="board_snapshots"),
    path(
        f"{P}boards/<slug:slug>/snapshots/<number:number>/links/",
        snapshots.SnapshotLinks.as_view(),
        name="board_snapshot_links",
    ),
    path(
        f"{P}boards/<slug:slug>/snapshots/<number:number>/links/<number:link>/",
        snapshots.OneSnapshotLink.as_view(),
        name="board_snapshot_link",
    ),
    path(f"{P}boards/<slug:slug>/snapshots/<number:number>/", snapshots.OneSnapshot.as_view(), name="board_snapshot"),
    path(f"{P}aliases/", changes.Aliases.as_view(), name="aliases"),
    path(f"{P}aliases/<slug:slug>/", changes.OneAlias.as_view(), name="alias"),
    path(f"{P}imported-results/", imports.ImportedResults.as_view(), name="imported_results"),
    path(f"{P}imported-results/<number:number>/", imports.OneImportedResult.as_view(), name="imported_result"),
    path(f"{P}imported-results/<number:number>/file/", imports.OriginalFile.as_view(), name="imported_result_file"),
    path(f"{P}evaluations/", boards.Evaluations.as_view(), name="evaluations"),
    path(f"{P}evaluations/<number:number>/", boards.OneEvaluation.as_view(), name="evaluation"),
    path(f"{P}evaluations/<number:number>/rescoring/", rescoring.Rescoring.as_view(), name="rescoring"),
    path(f"{P}evaluations/<number:number>/samples/", boards.Samples.as_view(), name="samples"),
    *list_rights(P),
    # Whatever else is asked for is answered in the API's own form.
    re_path("", views.answer_unknown),
]
