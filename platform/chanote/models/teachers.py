"""Models that a policy learned from beside the one it started from, and the terms that come with them."""

from collections.abc import Sequence
from typing import Any

from chanote.models.models import Model
from trainer.contract import stage_kinds

TOO_MANY_LICENCES = "LicenseRef-see-lineage"
"""Where the joined expression is longer than the column."""


def list_teachers(run: Any, *, last_stage: int) -> list[str]:
    """Names of the models that the run's stages up to and with this one named, each once."""
    kinds = stage_kinds()
    named = [
        stage[field]
        for stage in run.snapshot.get("recipe", {}).get("stages", [])[: last_stage + 1]
        if stage.get("kind") in kinds
        for field in kinds[stage["kind"]].names_models
        if stage.get(field)
    ]
    return list(dict.fromkeys(named))


def inherit_licence(run: Any, *, last_stage: int) -> str:
    """The terms of the base and of every teacher, joined as SPDX joins what holds at once; empty when none is known."""
    teachers = Model.objects.filter(project=run.project, slug__in=list_teachers(run, last_stage=last_stage))
    terms = [run.base.licence] if run.base else []
    terms += [model.licence for model in teachers.order_by("slug")]
    joined = join_terms(terms)
    return joined if len(joined) <= (Model._meta.get_field("licence").max_length or 0) else TOO_MANY_LICENCES


def join_terms(terms: Sequence[str]) -> str:
    """Licences that hold at once as one SPDX expression, each once."""
    parts: list[str] = []
    for term in terms:
        parts += [part for part in term.split(" AND ") if part and part not in parts]
    if len(parts) > 1:
        parts = [f"({part})" if " OR " in part and not part.startswith("(") else part for part in parts]
    return " AND ".join(parts)
