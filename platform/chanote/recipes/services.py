"""Every write about recipes."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from chanote.accounts.models import Project
from chanote.audit.services import record
from chanote.recipes.checking import Checked, check_yaml
from chanote.recipes.models import Recipe, Revision
from chanote.web.problems import Problem
from trainer.demoworld.catalogue import RECIPES, read_recipe

__all__ = ["Checked", "RecipeRefused", "check_yaml", "load_library", "save_revision"]


class RecipeRefused(Exception):
    """The text cannot become a revision; `problems` says why, by field."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = list(problems)


@transaction.atomic
def save_revision(
    *,
    project: Project,
    slug: str,
    title: str = "",
    yaml: str,
    message: str = "",
    author: Any,
    from_library: str = "",
) -> Revision:
    """Store the text as the recipe's next revision, making the recipe when it is new.

    A text equal to the newest revision's makes none: that revision comes back with `is_new` False. Missing datasets
    or models do not keep a recipe from being saved, only from being launched. Raises RecipeRefused.
    """
    text = yaml.replace("\r\n", "\n").rstrip() + "\n"
    checked = check_yaml(text)
    problems = [*checked.problems]
    # The lock gives concurrent saves their numbers one after the other.
    recipe = Recipe.objects.select_for_update().filter(project=project, slug=slug).first()
    if recipe is None:
        recipe = Recipe(project=project, slug=slug, title=title or slug, from_library=from_library, created_by=author)
    is_renamed = bool(recipe.pk and title and title != recipe.title)
    if is_renamed:
        recipe.title = title
    problems += _check_names(recipe, message)
    if checked.recipe is None or problems:
        raise RecipeRefused(problems)
    is_new_recipe = recipe.pk is None
    newest = None if is_new_recipe else recipe.revisions.first()
    is_same = newest is not None and newest.yaml == text
    if is_renamed or not is_same:
        recipe.save()
    if is_new_recipe:
        record("recipe.created", recipe, actor=author)
    if is_renamed:
        record("recipe.described", recipe, actor=author, title=title)
    if newest is not None and is_same:
        return newest
    resolved = checked.recipe.model_dump(mode="json")
    revision = Revision.objects.create(
        recipe=recipe,
        number=(newest.number if newest else 0) + 1,
        yaml=text,
        resolved=resolved,
        sha256=hash_resolved(resolved),
        message=message,
        created_by=author,
    )
    revision.is_new = True
    record("recipe.revised", revision, actor=author, number=revision.number, sha256=revision.sha256)
    return revision


def hash_resolved(resolved: dict[str, Any]) -> str:
    """SHA-256 over canonical JSON: two texts that mean the same have the same hash."""
    canonical = json.dumps(resolved, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def load_library(project: Project, actor: Any) -> list[Revision]:
    """Put the library recipes that the project lacks into it; those it has, even changed ones, stay as they are."""
    present = set(Recipe.objects.filter(project=project).values_list("slug", flat=True))
    return [
        save_revision(
            project=project,
            slug=entry["slug"],
            title=entry["title"],
            yaml=read_recipe(entry["slug"]),
            message="From the library",
            author=actor,
            from_library=entry["slug"],
        )
        for entry in RECIPES
        if entry["slug"] not in present
    ]


def _check_names(recipe: Recipe, message: str) -> list[Problem]:
    problems = []
    try:
        recipe.full_clean(validate_constraints=False)
    except ValidationError as error:
        for name, messages in error.message_dict.items():
            problems += [Problem(name, text) for text in messages]
    if len(message) > 300:
        problems.append(Problem("message", f"is {len(message)} characters long; at most 300 are kept"))
    return problems
