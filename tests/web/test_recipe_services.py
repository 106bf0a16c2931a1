"""Saving recipes: revisions, their numbers, and the library."""

import pytest

from chanote.audit.models import AuditEvent
from chanote.recipes.models import Recipe, Revision
from chanote.recipes.services import RecipeRefused, load_library, save_revision
from trainer.demoworld.catalogue import RECIPES

TEXT = "base: tiny\nstages:\n  - {kind: sft, steps: 5, data: [{dataset: talk}]}\n"


def save(project, author, text=TEXT, **more):
    return save_revision(project=project, slug="mine", yaml=text, author=author, **more)


def test_a_first_save_makes_the_recipe_and_revision_1(project, researcher):
    revision = save(project, researcher, title="My first", message="begin")
    assert (revision.number, revision.is_new, revision.recipe.title) == (1, True, "My first")
    assert revision.resolved["stages"][0]["batch_size"] == 8
    verbs = list(AuditEvent.objects.filter(project=project).values_list("verb", flat=True))
    assert verbs == ["recipe.revised", "recipe.created"]


def test_the_same_text_makes_no_second_revision(project, researcher):
    save(project, researcher)
    again = save(project, researcher, text=TEXT.replace("\n", "\r\n") + "\n\n")
    assert (again.number, again.is_new, Revision.objects.count()) == (1, False, 1)


def test_a_changed_text_is_revision_2_and_a_remark_keeps_the_meaning(project, researcher):
    first = save(project, researcher)
    second = save(project, researcher, text="# a remark\n" + TEXT)
    assert second.number == 2
    assert second.sha256 == first.sha256
    third = save(project, researcher, text=TEXT.replace("5", "6"))
    assert third.number == 3
    assert third.sha256 != first.sha256


def test_a_broken_text_saves_nothing(project, researcher):
    with pytest.raises(RecipeRefused) as refused:
        save(project, researcher, text="base: tiny\n")
    assert [str(problem) for problem in refused.value.problems] == ["stages: is missing; add it (line 1)"]
    assert not Recipe.objects.exists()


def test_a_name_that_cannot_stand_in_an_address_is_refused(project, researcher):
    with pytest.raises(RecipeRefused, match="lower-case letters"):
        save_revision(project=project, slug="My Recipe", yaml=TEXT, author=researcher)


def test_the_library_is_loaded_once_and_leaves_changed_recipes_alone(project, researcher):
    assert len(load_library(project, researcher)) == len(RECIPES)
    assert load_library(project, researcher) == []
    assert set(Recipe.objects.values_list("from_library", flat=True)) == {entry["slug"] for entry in RECIPES}
