"""The nine steps of AutoIF, one after another, and the version that they end in."""

from collections.abc import Callable, Iterable

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
from chanote.building.results import make_result
from chanote.datasets.models import DatasetVersion
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
        autoif = AutoIf(config, teacher, judge, sandbox, building.funnel, building.leave_if_asked)

        def do(step: Step, work: Callable[[AutoIf], Iterable[Outcome]], total: int = 0) -> int:
            kept = building.funnel.run(step, lambda: work(autoif), total=total)
            if not kept:
                why = building.funnel.explain_dropped(step) or "nothing came in"
                raise WorkRefused(
                    f"Step {step.name} left nothing: {why}. Start anew with other numbers or another model."
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
    writer = teacher.endpoint
    return make_result(
        building,
        slug=config.name,
        kind="chat",
        rows=((item["row"], item["source"]) for item in building.funnel.read_kept(rows.STEP)),
        drawn_from=[version],
        operation={"name": "autoif"},
        reason=f"Built by AutoIF from {version.reference} with {writer.model}",
        source=f"Questions of {version.reference}; answers written by {writer.model} at {writer.base_url}",
        endpoints=[config.endpoint],
        judges=[config.judge],
        languages=["th", "en"],
    )
