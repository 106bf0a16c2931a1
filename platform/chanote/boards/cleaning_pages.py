"""What pages show of items that are left out: the choice in the address, the checks behind it, what is not known."""

from collections.abc import Mapping
from typing import Any

from django.http import Http404, HttpRequest
from django.urls import reverse

from chanote.boards.cleaning import Clean, Cleaning, Holding, read_clean, word_cleaning
from chanote.boards.models import Task
from chanote.boards.selectors import BoardContent
from chanote.datasets.models import DatasetVersion

CHOICES = {
    Clean.ALL: "all",
    Clean.QUESTIONS: "clean: question and answer in no training data",
    Clean.SOURCES: "clean: nor the law or passage behind it",
}


def find_clean(request: HttpRequest) -> Clean:
    """What `?clean=` asks for; not found when it is no such choice."""
    found = read_clean(request.GET.get("clean", ""))
    if found is None:
        raise Http404("clean is questions or sources")
    return found


def list_choices(content: BoardContent) -> list[tuple[str, str, bool]]:
    """Value, words, chosen."""
    chosen = content.cleaning.clean if content.cleaning else Clean.ALL
    return [(one.value, words, one is chosen) for one, words in CHOICES.items()]


def lay_out_cleaning(cleaning: Cleaning, task: Task) -> dict[str, Any]:
    """For the page of one task of the board."""
    told = cleaning.tasks[task]
    return {
        "cleaning": cleaning,
        "clean": cleaning.clean,
        "overlap": told,
        "cleaning_words": word_cleaning(cleaning, task),
        "checked": [_link_check(one, cleaning) for one in told.holdings],
        "not_checked": [
            {"version": one, "url": link_version(one), "models": _name_some(cleaning.learners[one.pk])}
            for one in told.unchecked
        ],
        "data_gone": _list_named(cleaning.lost),
        "data_unknown": _list_named(cleaning.outside),
        "tasks_cleaned": [
            (one, overlap, len(cleaning.left_out(one))) for one, overlap in cleaning.tasks.items() if overlap.items
        ],
    }


def _link_check(one: Holding, cleaning: Cleaning) -> dict[str, Any]:
    version = one.version
    names = [version.project.slug, version.dataset.slug, version.number]
    return {
        "holding": one,
        "version": version,
        "url": link_version(version) if one.is_own else reverse("check_result", args=[*names, "overlap"]),
        "models": _name_some(cleaning.learners[version.pk]),
    }


def link_version(version: DatasetVersion) -> str:
    """The tab of its checks, where one is started."""
    return f"{version.dataset.get_absolute_url()}?version={version.number}&tab=checks"


def _list_named(named: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(name, _name_some(models)) for name, models in named.items()]


def _name_some(models: tuple[str, ...], most: int = 4) -> str:
    more = len(models) - most
    return ", ".join(models[:most]) + (f" and {more:,} more" if more > 0 else "")
