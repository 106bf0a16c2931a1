"""Everything that a model depends on, as a bundle states it: for programs in its manifest, for people in its cards."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from chanote.boards.models import Evaluation
from chanote.boards.pages import word_estimate
from chanote.boards.standings import compute_standings
from chanote.boards.table import unit_of
from chanote.datasets.models import DatasetVersion
from chanote.models.models import Model
from chanote.rights.models import Source
from chanote.rights.rules import read_sources_of
from chanote.rights.terms import Traced, Training, trace_terms
from chanote.runs.energy import read_energy
from chanote.runs.facts import list_stages, name_method, time_spent
from chanote.runs.models import Checkpoint

SOURCE_FACTS = (
    "slug", "title", "licence", "legal_basis", "uses", "non_commercial", "jurisdiction", "owner", "contact",
    "collected", "expires", "languages", "origin",
)  # fmt: skip


def gather_facts(model: Model) -> dict[str, Any]:
    """Data, method, scores, machine and terms of a model."""
    traced = trace_terms(model)
    return {
        "model": {
            "name": model.slug,
            "title": model.title,
            "description": model.description,
            "sha256": model.sha256,
            "parameters": model.parameters,
            "context_length": model.context_length,
            "vocabulary": model.vocabulary,
            "architecture": model.architecture,
            "licence": model.licence,
            "uses": model.uses,
            "non_commercial": model.non_commercial,
            "terms": model.terms,
            "origin": str(model.origin),
            "hub_name": model.hub_name,
        },
        "models": [
            {"name": term.model.slug, "role": term.role, "sha256": term.model.sha256, "licence": term.licence}
            for term in traced.terms
            if term.model != model
        ],
        "data": [describe_version(version) for version in traced.data],
        "languages": sorted({tag for version in traced.data for tag in version.dataset.languages}),
        "trainings": [describe_training(model, training) for training in traced.trainings],
        "scores": describe_scores(model),
        "restrictions": describe_restrictions(traced),
        "exceptions": traced.exceptions,
    }


def describe_version(version: DatasetVersion) -> dict[str, Any]:
    """A dataset version with its rights, and its sources with the rows that come from each."""
    sources = [
        {**describe_source(one.source), "rows": [list(span) for span in one.ranges], "more_ranges": one.more}
        for one in read_sources_of(version)
    ]
    return {
        "reference": version.reference,
        "title": version.dataset.title,
        "kind": version.dataset.kind,
        "sha256": version.sha256,
        "rows": version.rows,
        "licence": version.licence,
        "uses": version.uses,
        "non_commercial": version.non_commercial,
        "languages": version.dataset.languages,
        "origin": version.source,
        "operation": version.operation,
        "sources": sources,
    }


def describe_source(source: Source) -> dict[str, Any]:
    values = {name: getattr(source, name) for name in SOURCE_FACTS}
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in values.items()}


def describe_training(model: Model, training: Training) -> dict[str, Any]:
    """One run up to the stage that saved the weights: recipe revision, frozen spec, code, packages, machine, time."""
    run = training.run
    snapshot, revision = run.snapshot, run.revision
    stages = list_stages(run)[: training.last_stage + 1]
    saved = Checkpoint.objects.filter(run=run, sha256=model.sha256).order_by("-step").first()
    attempts = list(run.attempts.order_by("number"))
    facts: dict[str, Any] = next((attempt.facts for attempt in reversed(attempts) if attempt.facts), {})
    teachers = {name: frozen.get("sha256", "") for name, frozen in snapshot.get("models", {}).items()}
    return {
        "run": run.number,
        "name": run.name,
        "launched": run.created.isoformat(timespec="seconds"),
        "method": name_method(run, only_training=True),
        "stages": [
            {"kind": stage.get("kind", ""), "name": stage.get("name", ""), "steps": stage.get("steps")}
            for stage in stages
        ],
        "step": saved.step if saved else None,
        "seed": run.seed,
        "recipe": {"name": revision.recipe.slug, "revision": revision.number, "sha256": revision.sha256},
        "spec_sha256": hash_json(snapshot),
        "base": {
            "name": snapshot.get("recipe", {}).get("base", ""),
            "sha256": (snapshot.get("base") or {}).get("sha256", ""),
        },
        "teachers_and_other_models": teachers,
        "datasets": {
            name: {"sha256": file.get("sha256", ""), "rows": file.get("rows")}
            for name, file in snapshot.get("datasets", {}).items()
        },
        "toolset_sha256": hash_json(snapshot["toolset"]) if snapshot.get("toolset") else "",
        "code": snapshot.get("code", {}),
        "packages": facts.get("packages", {}),
        "hardware": facts.get("hardware", {}),
        "device": facts.get("device", ""),
        "attempts": len(attempts),
        "seconds": round(time_spent(attempts), 1),
        "energy": read_energy(attempts).facts(),
    }


def describe_scores(model: Model) -> list[dict[str, Any]]:
    """The newest evaluation on each task, with its 95 % interval."""
    newest: dict[int, Evaluation] = {}
    for one in Evaluation.objects.filter(model=model).select_related("task", "model").order_by("created"):
        newest[one.task_id] = one
    found = []
    for one in sorted(newest.values(), key=lambda each: each.task.reference):
        estimate, unit = compute_standings(one.task, [one.pk]).estimates[one.pk], unit_of(one.task)
        words = word_estimate(estimate, unit)
        found.append(
            {
                "task": one.task.reference,
                "task_sha256": one.task.sha256,
                "unit": unit.symbol,
                **{
                    name: None if value is None else round(value * unit.scale, 4)
                    for name, value in asdict(estimate).items()
                    if name in ("mean", "low", "high")
                },
                "rounded": {"mean": words.value, "interval": words.interval},
                "items": one.count,
                "failed": one.failed,
                "left_out": one.left_out,
                "interval": estimate.method,
                "boards": [board.slug for board in one.boards.all()],
                "settings_sha256": one.settings_sha256,
                "samples_sha256": one.samples_sha256,
                "harness": one.harness,
                "at": one.created.isoformat(timespec="seconds"),
            }
        )
    return found


def describe_restrictions(traced: Traced) -> list[dict[str, str]]:
    return [{"words": tag.words, "because": tag.because} for tag in traced.tags]


def hash_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
