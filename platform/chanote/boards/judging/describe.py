"""What a judged table says of its judges, as plain values and as sentences; page, REST and exports show the same."""

from collections.abc import Sequence
from typing import Any

from chanote.boards.judging.calibration import Calibration, calibrate
from chanote.boards.judging.identity import identify_judging
from chanote.boards.models import Evaluation, Task
from chanote.boards.statistics.agreement import FEWEST_LABELS
from chanote.boards.statistics.agreement_interval import Bounded
from chanote.boards.statistics.wording import PERCENT_95
from trainer.contract.judging import WORDS, JudgeSettings


def calibrate_task(task: Task, evaluations: Sequence[Evaluation]) -> Calibration | None:
    """None of a task that no model judges. Evaluations of other tasks, shown for their own sake, are left out."""
    judging = identify_judging(task)
    if judging is None:
        return None
    return calibrate(judging, [one for one in evaluations if one.task_id == task.pk])


def describe_judges(task: Task) -> dict[str, Any]:
    """What the page of a task shows of its judges, the words they are asked with included; empty of other tasks."""
    judging = identify_judging(task)
    if judging is None or not judging.ours:
        return {}
    settings = JudgeSettings.model_validate(task.definition["judging"])
    words = WORDS[task.definition["metric"], settings.prompt_version]
    return {"judging": judging, "judge_settings": settings, "judge_words": words}


def describe_calibration(found: Calibration | None) -> dict[str, Any] | None:
    """As plain values, unrounded."""
    if found is None:
        return None
    judging = found.judging
    return {
        "judges": list(judging.judges),
        "prompt": judging.prompt,
        "combine": judging.combine,
        "opponent": judging.opponent,
        "state": "calibrated" if found.is_calibrated else "uncalibrated",
        "labels": found.labels,
        "labels_needed": FEWEST_LABELS,
        "models_without_labels": list(found.unlabelled),
        "raters": found.raters,
        "judge_agreement": _describe_agreement(found.judge, name_kappa(found)),
        "people_agreement": _describe_agreement(found.people, "Fleiss' kappa"),
        "sentence": word_calibration(found),
    }


def describe_correction(found: Calibration | None, evaluation: Evaluation) -> dict[str, Any] | None:
    """A model's estimate as people would have it; None where nothing is labelled."""
    one = found.corrections.get(evaluation.pk) if found else None
    return None if one is None else dict(vars(one))


def name_kappa(found: Calibration) -> str:
    return "Cohen's kappa" if found.judging.scale == "wins" else "quadratically weighted kappa"


def _describe_agreement(found: Bounded | None, measure: str) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "measure": measure,
        "kappa": found.found.kappa,
        "low": found.low,
        "high": found.high,
        "observed": found.found.observed,
        "expected": found.found.expected,
        "answers": found.found.count,
    }


def word_calibration(found: Calibration) -> str:
    """One or two sentences, the first of which says *uncalibrated* or *calibrated*."""
    who = found.judging.who
    said = []
    if found.judge is not None and found.judge.found.kappa is not None:
        said.append(f"{who} and people agree with {word_kappa(found.judge, name_kappa(found))}")
    if found.people is not None and found.people.found.kappa is not None:
        said.append(f"people among themselves with {word_kappa(found.people, 'Fleiss’ kappa')}")
    rest = f" {'; '.join(said)}." if said else ""
    if found.labels and found.unlabelled:
        named = ", ".join(found.unlabelled[:3])
        more = f" and {len(found.unlabelled) - 3} more" if len(found.unlabelled) > 3 else ""
        rest += f" No answer of {named}{more} is labelled."
    agrees = "it agrees" if len(found.judging.judges) == 1 else "they agree"
    people = "1 person" if found.raters == 1 else f"{found.raters:,} people"
    if found.is_calibrated:
        return f"Calibrated by {found.labels:,} answers that {people} labelled.{rest}"
    return (
        f"Uncalibrated: {who} judged these answers, and people have labelled {found.labels:,} of the {FEWEST_LABELS} "
        f"that it takes to know how far {agrees} with them.{rest}"
    )


def word_kappa(found: Bounded, measure: str) -> str:
    kappa = found.found.kappa
    assert kappa is not None
    if found.low is None or found.high is None:
        return f"{measure} {_minus(kappa, 2)} ({found.found.count:,} answers)"
    return (
        f"{measure} {_minus(kappa, 2)} ({PERCENT_95} interval {_minus(found.low, 2)} to {_minus(found.high, 2)}, "
        f"{found.found.count:,} answers)"
    )


def _minus(value: float, places: int) -> str:
    return f"{value:.{places}f}".replace("-", "\u2212")
