"""What can be served, by the platform's names, and how the trainer is called to serve it."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from chanote.accounts.models import Project
from chanote.models.models import Model
from chanote.models.services import find_model_directory, name_policy
from chanote.runs.models import Checkpoint, Run
from chanote.runs.processes import trainer_command
from chanote.web.numbers import read_number


class NotServable(ValueError):
    """Nothing can be served under this name; one sentence with the way out."""


@dataclass(frozen=True)
class Servable:
    """A directory with weights and where it belongs."""

    project: Project
    name: str
    directory: Path
    checkpoint: Checkpoint | None = None
    model: Model | None = None
    tells_tools: bool = True
    """Whether tools were described to the policy in training."""


def find_servable(project: Project, text: str) -> Servable:
    """`MODEL`, `RUN` (a number or a name: its newest checkpoint that is kept) or `RUN@STEP`. Raises NotServable."""
    model = Model.objects.filter(project=project, slug=text).first()
    if model is not None:
        directory = Path(model.location)
        if not (directory / "config.json").is_file():
            raise NotServable(f"The files of {model} are no longer at {directory}; choose another model.")
        made = getattr(model, "checkpoint", None)
        return Servable(project, model.slug, directory, model=model, tells_tools=_tells_tools(made))
    name, _, step = text.partition("@")
    run = _find_run(project, name)
    if run is None:
        raise NotServable(
            f"{project.slug} has neither a model nor a run named {text}; `chanote model list` and `chanote run list` "
            "show them. A checkpoint is RUN@STEP."
        )
    kept = Checkpoint.objects.filter(run=run, removed=None).select_related("run", "attempt").order_by("-step", "-pk")
    if step:
        number = read_number(step)
        found = None if number is None else kept.filter(step=number).first()
    else:
        found = kept.first()
    if found is None:
        steps = ", ".join(str(one) for one in kept.values_list("step", flat=True)[:8])
        raise NotServable(
            f"Run {run.number} has no checkpoint{f' of step {step}' if step else ''} that is kept"
            + (f"; there are those of step {steps}." if steps else "; let it save one first.")
        )
    place = find_model_directory(found)
    if place is None:
        raise NotServable(f"The files of {found} are gone; choose another checkpoint.")
    return Servable(
        project, f"{name_policy(run)}-step-{found.step}", place, checkpoint=found, tells_tools=_tells_tools(found)
    )


def _find_run(project: Project, name: str) -> Run | None:
    runs = Run.objects.filter(project=project)
    if (number := read_number(name)) is not None:
        return runs.filter(number=number).first()
    return runs.filter(name=name).order_by("-created").first()


def _tells_tools(checkpoint: Checkpoint | None) -> bool:
    """As the last stage that learnt to call tools had it."""
    if checkpoint is None:
        return True
    stages: list[Any] = (checkpoint.run.snapshot.get("recipe") or {}).get("stages") or []
    told = [bool(one["tell_tools"]) for one in stages[: checkpoint.stage + 1] if "tell_tools" in one]
    return told[-1] if told else True


def make_token_file() -> Path:
    """A fresh key, readable by its owner only."""
    folder = Path(settings.HOME) / "serving"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / secrets.token_hex(8)
    path.touch(mode=0o600)
    path.write_text(f"chanote-{secrets.token_urlsafe(32)}\n")
    return path


def serve_command(
    servable: Servable, *, host: str, port: int, token_file: Path, engine: str, more: list[str]
) -> list[str]:
    """The trainer's command. It ends with its standard input, so that it never outlives who started it."""
    command = [*trainer_command(), "serve", str(servable.directory), "--name", servable.name, "--host", host]
    command += ["--port", str(port), "--token-file", str(token_file), "--engine", engine, "--end-with-input", *more]
    return command if servable.tells_tools else [*command, "--untold-tools"]
