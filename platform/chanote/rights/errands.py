"""Training again without what was withdrawn, as an errand: datasets of millions of rows are written anew."""

from typing import Any

from django.urls import reverse

from chanote.errands.kinds import errand
from chanote.errands.work import Work, WorkRefused
from chanote.recipes.models import Recipe
from chanote.rights.exceptions import RightsRefused
from chanote.rights.models import Source
from chanote.rights.retraining import RETRAIN, draft_without


@errand(RETRAIN, permission="recipes.change")
def retrain(work: Work) -> dict[str, Any]:
    """Started again after it was killed, it takes the versions that it has made, and the draft if it stands already."""
    recipe = Recipe.objects.select_related("project").get(project=work.project, pk=work.config["recipe"])
    sources = list(Source.objects.filter(project=work.project, pk__in=work.config["sources"]))
    try:
        draft = draft_without(recipe, sources=sources, actor=work.actor, after=work.config["after"], report=work.report)
    except RightsRefused as refused:
        raise WorkRefused(str(refused)) from refused
    return {
        "link": reverse("recipe", args=[work.project.slug, recipe.slug]),
        "recipe": recipe.slug,
        "revision": draft.revision.number,
        "versions": {old: made.reference for old, made in draft.versions.items()},
        "left": draft.left,
        "told": [f"Revision {draft.revision.number} is a draft. Look at it, then launch it.", *draft.left],
    }
