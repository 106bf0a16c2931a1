"""Addresses of runs, below `p/<project>/`."""

from django.urls import path

from chanote.runs import actions, live, rollout_views, views

_RUN = "p/<slug:project>/runs/<int:number>/"

urlpatterns = [
    path("p/<slug:project>/runs/", views.run_table, name="runs"),
    path("p/<slug:project>/runs/table.csv", views.run_table_csv, name="runs_csv"),
    path("p/<slug:project>/runs/table.json", views.run_table_json, name="runs_json"),
    path("p/<slug:project>/runs/compare/", views.compare, name="compare"),
    path("p/<slug:project>/queue/", views.queue, name="queue"),
    path(_RUN, views.overview, name="run"),
    path(f"{_RUN}charts/", views.charts, name="run_charts"),
    path(f"{_RUN}rollouts/", rollout_views.rollouts, name="run_rollouts"),
    path(f"{_RUN}rollouts/<int:step>.jsonl.zst", rollout_views.rollouts_file, name="run_rollouts_file"),
    path(f"{_RUN}rollouts.jsonl", rollout_views.rollouts_export, name="run_rollouts_export"),
    path(
        f"{_RUN}rollouts/<int:step>/<str:place>/calls/<int:call>/<slug:part>.txt",
        rollout_views.call_text,
        name="run_rollout_call_text",
    ),
    path(f"{_RUN}logs/", views.logs, name="run_logs"),
    path(f"{_RUN}logs/text/", views.log_text, name="run_log_text"),
    path(f"{_RUN}config/", views.config, name="run_config"),
    path(f"{_RUN}config.yaml", views.config_yaml, name="run_config_yaml"),
    path(f"{_RUN}checkpoints/", views.checkpoints, name="run_checkpoints"),
    path(f"{_RUN}samples/", views.samples, name="run_samples"),
    path(f"{_RUN}curves/", views.curves, name="run_curves"),
    path(f"{_RUN}live/", live.stream, name="run_live"),
    path(f"{_RUN}live/now/", live.now, name="run_live_now"),
    path(f"{_RUN}stop/", actions.stop, name="run_stop"),
    path(f"{_RUN}cancel/", actions.cancel, name="run_cancel"),
    path(f"{_RUN}resume/", actions.resume, name="run_resume"),
    path(f"{_RUN}retry/", actions.retry, name="run_retry"),
    path(f"{_RUN}move/", actions.move, name="run_move"),
]
