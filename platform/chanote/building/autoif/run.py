"""The nine steps of AutoIF, one after another, and the version that they end in."""

from collections.abc import Callable, Iterable
from typing import Any

from chanote.building.autoif import (
    answers,
    backtranslation,
    constraints,
    contradiction,
    crosschecks,
    functions,
    pairing,
    quality,
    rows,
)
from chanote.building.autoif.config import AutoIfConfig
from chanote.building.autoif.work import AutoIf
from chanote.building.doing import Building
from chanote.building.funnel import Outcome, Step
from chanote.building.models import TeacherEndpoint
from chanote.datasets.making import join_licences, make_version
from chanote.datasets.models import DatasetVersion, Use
from chanote.datasets.selectors import find_version
from chanote.errands.work import WorkRefused

STEPS = (
    constraints.STEP,
    functions.STEP,
    crosschecks.STEP,
    backtranslation.STEP,
    contradiction.STEP,
    pairing.STEP,
    answers.STEP,
    quality.STEP,
    rows.STEP,
)


def run(building: Building, config: AutoIfConfig) -> DatasetVersion:
    """From wherever an earlier process left it. Raises WorkRefused where a step leaves nothing for the next."""
    version = find_version(building.project, config.questions)
    with building.open_sandbox() as sandbox:
        teacher = building.open_endpoint(config.endpoint)
        judge = building.open_endpoint(config.judge or config.endpoint)
        names = {config.endpoint, config.judge or config.endpoint}
        endpoints = list(TeacherEndpoint.objects.filter(project=building.project, slug__in=names))
        autoif = AutoIf(config, teacher, judge, sandbox, building.funnel, building.leave_if_asked)

        def do(step: Step, work: Callable[[AutoIf], Iterable[Outcome]], total: int = 0) -> int:
            kept = building.funnel.run(step, lambda: work(autoif), total=total)
            if not kept:
                raise WorkRefused(
                    f"Step {step.name} left nothing; what it dropped says why. Start anew with other numbers."
                )
            return kept

        found = do(constraints.STEP, constraints.find_constraints)
        written = do(functions.STEP, functions.write_functions, found)
        checked = do(crosschecks.STEP, crosschecks.cross_check, written)
        said = do(backtranslation.STEP, backtranslation.translate_back, checked)
        do(contradiction.STEP, contradiction.filter_contradictions, said)
        pairs = do(pairing.STEP, lambda autoif: pairing.pair_up(autoif, version), version.rows)
        answered = do(answers.STEP, answers.answer, pairs * config.answers_each)
        judged = do(quality.STEP, quality.judge_quality, answered)
        do(rows.STEP, rows.write_rows, judged)
    return _make_version(building, config, version, endpoints)


def _make_version(
    building: Building, config: AutoIfConfig, questions: DatasetVersion, endpoints: list[TeacherEndpoint]
) -> DatasetVersion:
    """Rights are those that the questions and the terms of every endpoint have in common."""
    writer = next(one for one in endpoints if one.slug == config.endpoint)
    allowed = set(questions.uses).intersection(*(endpoint.uses for endpoint in endpoints))
    uses = [use for use in Use.values if use in allowed]
    counts = {step.name: building.funnel.read_counts(step) or {} for step in STEPS}
    operation: dict[str, Any] = {
        "name": "autoif",
        "build": building.build.pk,
        "config": config.model_dump(mode="json"),
        "endpoints": [describe_endpoint(endpoint) for endpoint in endpoints],
        "steps": {name: {part: told[part] for part in ("in", "kept", "dropped")} for name, told in counts.items()},
    }
    return make_version(
        project=building.project,
        slug=config.name,
        kind="chat",
        title=building.build.title,
        rows=((item["row"], item["source"]) for item in building.funnel.read_kept(rows.STEP)),
        drawn_from=[questions],
        operation=operation,
        reason=f"Built by AutoIF from {questions.reference} with {writer.model}",
        uses=uses,
        licence=join_licences([questions.licence, writer.licence]),
        source=f"Questions of {questions.reference}; answers written by {writer.model} at {writer.base_url}",
        languages=["th", "en"],
        actor=building.actor,
    )


def describe_endpoint(endpoint: TeacherEndpoint) -> dict[str, Any]:
    """What a dataset's provenance keeps of a model that wrote it."""
    return {
        "slug": endpoint.slug,
        "address": endpoint.base_url,
        "model": endpoint.model,
        "licence": endpoint.licence,
        "uses": endpoint.uses,
        "terms": endpoint.terms,
    }
