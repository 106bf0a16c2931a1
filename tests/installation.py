"""A platform on a database file of its own, with real worker, supervisor and trainer processes."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from chanote.accounts.models import Membership, Project, User
from chanote.recipes.models import Recipe, Revision
from chanote.runs import launching
from chanote.runs.launching import start_attempt
from chanote.runs.models import Attempt, MetricSeries, Run, RunEvent, State
from chanote.runs.services import launch_run
from tests.trainer_runs import TINY, text_rows
from trainer.contract import Recipe as RecipeSpec

Result = TypeVar("Result")
ENDS = (State.FINISHED, State.FAILED, State.STOPPED, State.CANCELLED)


class Installation:
    """Works on the database that the test process uses too; programs take their settings from the environment."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_worker(self, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.home / "worker.log").open("ab") as log:
            worker = subprocess.Popen([sys.executable, "-m", "chanote.runs.worker", *arguments], stdout=log, stderr=log)
        self.workers.append(worker)
        return worker

    def close(self) -> list[psutil.Process]:
        """End everything; what was still alive besides the workers."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
        # A supervisor ends a moment after it has closed its attempt.
        _, left = psutil.wait_procs(self.processes(), timeout=30)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)
        for supervisor in launching.SUPERVISORS:
            # Those that this process started are its children: waiting for them leaves no zombie.
            supervisor.wait()
        launching.SUPERVISORS.clear()
        return left

    def processes(self) -> list[psutil.Process]:
        """Supervisors and trainers of this installation that are alive."""
        found = []
        for process in psutil.process_iter():
            try:
                surroundings = process.environ()
                mine = surroundings.get("CHANOTE_RUNS_DIRECTORY", "").startswith(str(self.home))
                trainer = surroundings.get("CHANOTE_ATTEMPT_DIRECTORY", "").startswith(str(self.home))
                known = process.pid in [os.getpid(), *(worker.pid for worker in self.workers)]
                if (mine or trainer) and not known and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def wait_for(self, ask: Callable[[], Result], *, seconds: float = 120, what: str = "") -> Result:
        """The first true answer; fails with the logs when none comes in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if answer := ask():
                return answer
            time.sleep(0.05)
        raise AssertionError(f"{what or 'nothing'} within {seconds} s\n{self.read_logs()}")

    def wait_for_end(self, run: Run, *, seconds: float = 240) -> Run:
        def ended() -> Run | None:
            run.refresh_from_db()
            return run if run.state in ENDS else None

        return self.wait_for(ended, seconds=seconds, what=f"{run} did not end ({run.state})")

    def wait_for_step(self, run: Run, step: int, *, seconds: float = 120) -> Attempt:
        def reached() -> Attempt | None:
            run.refresh_from_db()
            assert run.state not in ENDS, f"{run.state}: {run.fault}\n{self.read_logs()}"
            return newest(run) if run.step >= step else None

        return self.wait_for(reached, seconds=seconds, what=f"{run} did not reach step {step}")

    def wait_until_quiet(self) -> None:
        """Until no supervisor and no trainer is left."""
        self.wait_for(lambda: not self.processes(), seconds=60, what="processes left behind")

    def read_logs(self) -> str:
        logs = [*self.home.glob("*.log"), *self.home.glob("runs/*/*/*.log")]
        return "\n".join(f"--- {log.relative_to(self.home)}\n{log.read_text()[-3000:]}" for log in sorted(logs))


def make_people(slug: str = "law") -> tuple[Project, User]:
    project = Project.objects.create(slug=slug, name=slug.title())
    user = User.objects.create(username=f"researcher-of-{slug}")
    Membership.objects.create(user=user, project=project, role="researcher")
    return project, user


def add_texts(project: Project, *, slug: str = "texts", count: int = 24, uses: tuple[str, ...] = ("train",)) -> Any:
    """A dataset of made-up law texts, imported as a user would."""
    import io
    import json

    from chanote.datasets.services import import_dataset

    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in text_rows(count))
    return import_dataset(
        project=project,
        slug=slug,
        kind="text",
        file=io.BytesIO(lines.encode()),
        format="jsonl",
        uses=list(uses),
        licence="CC0-1.0",
        actor=project.memberships.exclude(role="viewer").first().user,
    )


def write_recipe(project: Project, stages: list[dict[str, Any]], *, slug: str = "tiny", **fields: Any) -> Revision:
    """A revision as the recipes app would store it."""
    resolved = RecipeSpec.model_validate({"seed": 3, "stages": stages, **fields}).model_dump(mode="json")
    recipe, _ = Recipe.objects.get_or_create(project=project, slug=slug, defaults={"title": slug})
    return Revision.objects.create(
        recipe=recipe, number=recipe.revisions.count() + 1, yaml="", resolved=resolved, sha256="0" * 64
    )


def tiny_stage(steps: int, **fields: Any) -> dict[str, Any]:
    """Pretraining of a policy so small that a step takes milliseconds."""
    return {
        "kind": "cpt",
        "initialise": TINY,
        "data": [{"dataset": "texts"}],
        "steps": steps,
        "batch_size": 2,
        "sequence_length": 64,
        **fields,
    }


def launch_tiny(project: Project, user: User, *, steps: int = 6, script: str = "", **fields: Any) -> Run:
    """A queued run of the tiny policy; `script` tells the scripted trainer what to do."""
    revision = write_recipe(project, [tiny_stage(steps, **fields)], description=script)
    return launch_run(revision=revision, owner=user)


def start(run: Run) -> Attempt:
    """What a worker does with a nudge, done by this process: its supervisor is as detached from it as from a worker."""
    assert start_attempt(newest(run).pk)
    return newest(run)


def let_go(run: Run) -> None:
    """Let a scripted trainer go on that waits."""
    (Path(newest(run).directory) / "go").touch()


def newest(run: Run) -> Attempt:
    return run.attempts.order_by("-number")[0]


def event_types(run: Run) -> list[str]:
    return list(RunEvent.objects.filter(attempt__run=run).order_by("id").values_list("type", flat=True))


def losses(run: Run) -> dict[int, float]:
    """Training loss by step; fails when a step stands twice."""
    from chanote.runs.metrics import read_points

    steps_N, values_N, _ = read_points(MetricSeries.objects.get(run=run, key="train/loss"))
    assert len(set(steps_N.tolist())) == len(steps_N), f"doubled steps: {steps_N.tolist()}"
    return dict(zip(steps_N.tolist(), values_N.tolist(), strict=True))
