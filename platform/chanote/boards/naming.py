"""From the name of a task in a recipe to the task."""

from chanote.accounts.models import Project
from chanote.boards.models import Task
from chanote.web.numbers import read_number


def find_task(project: Project, name: str) -> Task:
    """The task that a recipe names: `slug@2`, or `slug` for the newest. Raises Task.DoesNotExist.

    A task without rows, known by imported results only, cannot be run and is none.
    """
    slug, _, number = name.partition("@")
    tasks = Task.objects.filter(project=project, slug=slug, dataset_version__isnull=False)
    tasks = tasks.select_related("dataset_version__dataset")
    if number:
        tasks = tasks.filter(number=read_number(number) or 0)
    task = tasks.order_by("-number").first()
    if task is None:
        raise Task.DoesNotExist(f"{name} is no task of this project")
    return task
