"""Whether the services that a recipe needs while it runs answer now: judges of rewards and of tasks."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from chanote.accounts.models import Project
from chanote.boards.models import Task
from chanote.boards.naming import find_task
from chanote.web.problems import Problem
from trainer.contract import Recipe, TaskSpec
from trainer.contract.rewards import RewardBase, check_reachable
from trainer.contract.stages.evaluate import EvaluateStage


def find_unreachable(recipe: Recipe, project: Project | None = None) -> list[Problem]:
    """What cannot be reached, with its field; with a project also what its tasks need. Asks over the network and may
    take seconds: for a launch, not a page."""
    return list(_ask(recipe, project))


def _ask(recipe: Recipe, project: Project | None) -> Iterator[Problem]:
    for number, stage in enumerate(recipe.stages):
        yield from _ask_services(f"stages[{number}].", getattr(stage, "rewards", []))
        if isinstance(stage, EvaluateStage) and project is not None:
            for place, name in enumerate(stage.tasks):
                with suppress(Task.DoesNotExist):  # which `find_obstacles` says
                    task = TaskSpec.model_validate(find_task(project, name).definition)
                    for problem in _ask_services("", task.agent.rewards if task.agent else []):
                        yield Problem(f"stages[{number}].tasks[{place}]", f"{name}, {problem}")
                    for sentence in task.judging.unreachable() if task.judging else []:
                        yield Problem(f"stages[{number}].tasks[{place}]", f"{name}, {sentence}")


def _ask_services(path: str, rewards: Sequence[RewardBase]) -> Iterator[Problem]:
    for sentence in check_reachable(rewards):
        field, _, reason = sentence.partition(": ")
        yield Problem(f"{path}{field}", reason)
